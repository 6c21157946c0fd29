"""The executors of this process: registered in it, or found among the installed packages."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

from holdfast.errors import InvalidExecutor

if TYPE_CHECKING:
    from holdfast.authoring.executor import Executor

logger = logging.getLogger("holdfast.worker")

GROUP: Final = "holdfast.executors"
"""The group of entry points in which packages name their executors; each is named as the executor's `type`."""


EXECUTOR: Final = "executor:"
"""Before the type of an executor in the type of the activity that carries it out."""


@dataclass(frozen=True, kw_only=True)
class ExecutorProblem:
    """An executor that cannot be used. Nodes of its type fail with the message; the others go on."""

    type: str
    package: str
    """The package, or the module for one that was registered in this process."""
    message: str
    """What is wrong, and what to do."""


@dataclass(frozen=True, kw_only=True)
class _Source:
    package: str
    where: str
    load: Callable[[], object]


def _installed() -> Iterable[EntryPoint]:
    return importlib.metadata.entry_points(group=GROUP)


class Executors:
    """The executors that this process can carry out. Installed packages are looked up at first use, and each is
    imported only when its type is asked for.

    Args:
        installed: Finds the entry points.
    """

    def __init__(self, installed: Callable[[], Iterable[EntryPoint]] = _installed) -> None:
        self._installed = installed
        self._registered: dict[str, dict[object, type[Executor[Any, Any]]]] = {}
        self._found: dict[str, list[_Source]] | None = None
        self._loaded: dict[str, type[Executor[Any, Any]] | ExecutorProblem] = {}
        self._told: set[ExecutorProblem] = set()

    def add(self, executor: type[Executor[Any, Any]]) -> None:
        """Register one of this process. Declared again (a reload, a notebook cell), it replaces itself."""
        self._registered.setdefault(executor.type, {})[_identity(executor)] = executor
        self._loaded.pop(executor.type, None)

    def types(self) -> list[str]:
        """The types that nodes may have, those with problems included. Imports nothing."""
        return sorted({*self._entry_points(), *self._registered})

    def find(self, kind: str) -> type[Executor[Any, Any]]:
        """The executor of that type.

        Raises:
            InvalidExecutor: There is none, two packages claim the type, or its package cannot be imported.
        """
        if kind not in self._loaded:
            self._loaded[kind] = self._load(kind)
        found = self._loaded[kind]
        if not isinstance(found, ExecutorProblem):
            return found
        self._tell(found)
        raise InvalidExecutor(found.message, type=kind, package=found.package)

    def problems(self) -> list[ExecutorProblem]:
        """What is wrong with any of them; imports all of them."""
        found: list[ExecutorProblem] = []
        for kind in self.types():
            try:
                self.find(kind)
            except InvalidExecutor:
                problem = self._loaded[kind]
                assert isinstance(problem, ExecutorProblem)
                found.append(problem)
        return found

    def package_of(self, kind: str) -> str:
        """Where an executor comes from: a package, or a module of this process."""
        return " and ".join(source.package for source in self._sources(kind))

    def _tell(self, problem: ExecutorProblem) -> None:
        if problem not in self._told:
            self._told.add(problem)
            logger.error("%s", problem.message)

    def _entry_points(self) -> dict[str, list[_Source]]:
        if self._found is None:
            self._found = {}
            seen: set[tuple[str, str]] = set()
            for entry in self._installed():
                if (entry.name, entry.value) in seen:  # a folder that is twice on the path
                    continue
                seen.add((entry.name, entry.value))
                package = entry.dist.name if entry.dist is not None else entry.module
                source = _Source(package=package, where=entry.value, load=entry.load)
                self._found.setdefault(entry.name, []).append(source)
        return self._found

    def _sources(self, kind: str) -> list[_Source]:
        registered = [
            _Source(
                package=executor.__module__,
                where=f"{executor.__module__}:{executor.__qualname__}",
                load=functools.partial(_itself, executor),
            )
            for executor in self._registered.get(kind, {}).values()
        ]
        places = {source.where for source in registered}
        return registered + [one for one in self._entry_points().get(kind, []) if one.where not in places]

    def _load(self, kind: str) -> type[Executor[Any, Any]] | ExecutorProblem:
        sources = self._sources(kind)
        packages = " and ".join(dict.fromkeys(source.package for source in sources))

        def problem(message: str) -> ExecutorProblem:
            return ExecutorProblem(type=kind, package=packages, message=message)

        if not sources:
            near = difflib.get_close_matches(kind, self.types(), n=1, cutoff=0.6)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            return problem(
                f"there is no executor {kind!r} here. {meant}There is: {', '.join(self.types()) or 'none'}"
            )
        if len(sources) > 1:
            places = " and ".join(f"{source.package} ({source.where})" for source in sources)
            return problem(f"two executors have the type {kind!r}: {places}; remove or rename one of them")
        [source] = sources
        try:
            found = source.load()
        except BaseException as error:
            # Whatever a package does when it is imported must not end the worker, `sys.exit` included.
            if isinstance(error, KeyboardInterrupt | GeneratorExit):
                raise
            return problem(
                f"executor {kind!r} of package {source.package!r} cannot be loaded from {source.where!r}: "
                f"{type(error).__name__}: {error}"
            )
        if not _is_executor(found):
            return problem(
                f"the entry point {kind!r} of package {source.package!r} names {source.where!r}, which is no Executor "
                f"class: {found!r}"
            )
        if found.type != kind:
            return problem(
                f"the entry point {kind!r} of package {source.package!r} names an executor of the type {found.type!r}: "
                "give both the same name"
            )
        return found


def _is_executor(found: object) -> TypeGuard[type[Executor[Any, Any]]]:
    from holdfast.authoring.executor import Executor

    return isinstance(found, type) and issubclass(found, Executor) and "type" in dir(cast("object", found))


def _itself(executor: type[Executor[Any, Any]]) -> object:
    return executor


def _identity(executor: type[Executor[Any, Any]]) -> object:
    """What makes two declarations one, as for functions: file and qualified name."""
    return (executor.execute.__code__.co_filename, executor.__qualname__)
