"""What this process has declared: the only module state, filled only by decorators."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.authoring import scope
from holdfast.authoring.executors import Executors
from holdfast.authoring.signature import where
from holdfast.errors import InvalidStep, InvalidWorkflow

if TYPE_CHECKING:
    from holdfast.authoring.executor import Executor
    from holdfast.authoring.step import Step
    from holdfast.authoring.workflow import Workflow

E = TypeVar("E", bound="type[Executor[Any, Any]]")

StandIn = Callable[[Sequence[Any]], Coroutine[Any, Any, Any]]
"""What a test puts in place of a step's function: takes the sent arguments, one per parameter."""


class Registry:
    """Steps and workflows by name. The same function declared again (a reload, a notebook cell) replaces itself;
    two different functions of one name are an error at first use.

    Attributes:
        executors: The executors by type, those of installed packages included.
    """

    def __init__(self) -> None:
        self.executors = Executors()
        self._steps: dict[str, dict[object, Step[..., Any]]] = {}
        self._workflows: dict[str, dict[object, Workflow[..., Any]]] = {}
        self._stand_ins: dict[object, StandIn] = {}

    def add_step(self, step: Step[..., Any]) -> None:
        """Record a declared step under its name and aliases."""
        for name in (step.name, *step.aliases):
            self._steps.setdefault(name, {})[identity(step.fn)] = step

    def add_workflow(self, workflow: Workflow[..., Any]) -> None:
        """Record a declared workflow."""
        self._workflows.setdefault(workflow.name, {})[identity(workflow.fn)] = workflow

    def steps(self) -> dict[str, Step[..., Any]]:
        """Every declared step by name and alias.

        Raises:
            InvalidStep: Two functions have one name.
        """
        return {name: self._only_step(name) for name in self._steps}

    def all_steps(self) -> Iterator[Step[..., Any]]:
        """Every declared step, also those that share a name."""
        for declared in self._steps.values():
            yield from declared.values()

    def step(self, name: str) -> Step[..., Any] | None:
        """The step of that name, if declared."""
        return self._only_step(name) if name in self._steps else None

    def workflows(self) -> dict[str, Workflow[..., Any]]:
        """Every declared workflow by name."""
        return {name: self.only_workflow(name) for name in self._workflows}

    def _only_step(self, name: str) -> Step[..., Any]:
        found = list(self._steps[name].values())
        if len(found) > 1:
            places = " and ".join(where(step.fn) for step in found)
            raise InvalidStep(f"{name!r} is the name of {places}; give one of them @step(name=...)")
        return found[0]

    def only_workflow(self, name: str) -> Workflow[..., Any]:
        """The workflow of that name.

        Raises:
            InvalidWorkflow: Two functions have that name.
        """
        found = list(self._workflows[name].values())
        if len(found) > 1:
            places = " and ".join(where(workflow.fn) for workflow in found)
            raise InvalidWorkflow(f"{name!r} is the name of {places}; give one of them @workflow(name=...)")
        return found[0]

    @property
    def stands_in(self) -> bool:
        """Whether anything replaces functions at this moment."""
        return bool(self._stand_ins)

    def stand_in(self, fn: Callable[..., Any]) -> StandIn | None:
        """What replaces the function of a step or compensation at this moment, if anything. Asked at every call, so
        that it does not matter whether a worker started before or after."""
        return self._stand_ins.get(identity(fn)) if self._stand_ins else None

    @contextmanager
    def standing_in(self, replaced: Mapping[Callable[..., Any], StandIn]) -> Generator[None]:
        """Replace functions of steps and compensations, on every thread; the last one wins."""
        before = self._stand_ins
        self._stand_ins = before | {identity(fn): stand_in for fn, stand_in in replaced.items()}
        try:
            yield
        finally:
            self._stand_ins = before


def identity(fn: Callable[..., Any]) -> object:
    """What makes two declarations one: the file and the qualified name of the function."""
    # A file imported under two module names (as __main__ and by its own name) is one function.
    code = fn.__code__
    return (code.co_filename, fn.__qualname__)


_current = Registry()


def registry() -> Registry:
    """The registry that decorators fill."""
    return _current


def register_executor(executor: E) -> E:
    """Offer an executor in this process, without packaging it. Also as a decorator; workers that are made after it
    serve it.

    Args:
        executor: A subclass of `Executor` with a `type`.
    """
    if not scope.reimporting():
        registry().executors.add(executor)
    return executor


@contextmanager
def fresh_registry() -> Generator[Registry]:
    """An empty registry for the length of a test."""
    global _current
    before, _current = _current, Registry()
    try:
        yield _current
    finally:
        _current = before
