"""What `APP` means on every command line: a file or a module, with or without `:name`.

`examples/orders.py`, `examples.orders`, `examples.*` for a package and all below it, and each of them with `:fulfil`.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from holdfast import Dag, InvalidWorkflow, NotFound, Workflow

_MAIN_GUARD = 'It starts work whenever it is imported: put that under `if __name__ == "__main__":`'


class ImportFailed(InvalidWorkflow):
    """An app cannot be imported.

    Attributes:
        files: The files that its import had to do with, as far as is known.
    """

    code = InvalidWorkflow.code

    def __init__(self, message: str, files: Sequence[Path] = ()) -> None:
        super().__init__(message)
        self.files = list(files)


@dataclass(frozen=True, kw_only=True)
class App:
    """An imported app."""

    name: str
    """As it was given."""

    modules: tuple[ModuleType, ...]
    chosen: Workflow[..., Any] | None
    """The workflow that `:name` names."""

    @property
    def served(self) -> list[object]:
        """What a worker gets."""
        return [self.chosen] if self.chosen is not None else list(self.modules)

    @property
    def workflows(self) -> dict[str, Workflow[..., Any]]:
        """Its workflows by the name under which they are served."""
        if self.chosen is not None:
            return {self.chosen.name: self.chosen}
        return {found.name: found for module in self.modules for found in _workflows(module)}

    def only(self) -> Workflow[..., Any]:
        """The workflow to run.

        Raises:
            NotFound: There is none, or it takes a `:name` to choose one.
        """
        workflows = self.workflows
        if len(workflows) != 1:
            names = [*sorted(workflows), *(name for module in self.modules for name in dags_of(module))]
            known = f"name one: {', '.join(f'{self.name}:{name}' for name in names)}"
            raise NotFound(
                f"{self.name} has {len(names)} workflows; {known if names else 'it needs a @workflow or a Dag'}"
            )
        return next(iter(workflows.values()))


def load_app(app: str) -> App:
    """Import an app.

    The current folder, and for a file the folder that `python FILE` would use, come first on `sys.path`.

    Raises:
        NotFound: There is no such file, module or workflow.
        ImportFailed: Importing it raises.
    """
    target, name = split(app)
    _put_on_path(Path.cwd())
    modules = tuple(_import(target))
    chosen = _choose(app, name, modules) if name else None
    return App(name=target, modules=modules, chosen=chosen)


def split(app: str) -> tuple[str, str]:
    """The file or module, and the name after the colon, if any."""
    target, colon, name = app.rpartition(":")
    if colon and name.isidentifier() and not Path(app).exists():
        return target, name
    return app.rstrip(":"), ""


def dags_of(module: ModuleType) -> Mapping[str, Dag]:
    """The DAGs of a module by the name of their variable."""
    return {label: value for label, value in vars(module).items() if isinstance(value, Dag)}


def where_to_look(app: str) -> list[Path]:
    """The file of an app, without importing the app: what to watch until it can be imported.

    Raises:
        NotFound: There is no such file or module.
    """
    target, _ = split(app)
    if _is_file(target):
        if not Path(target).is_file():
            raise NotFound(f"there is no file {target!r} in {Path.cwd()}")
        return [Path(target).resolve()]
    _put_on_path(Path.cwd())
    try:
        spec = importlib.util.find_spec(target.removesuffix(".*"))
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise NotFound(f"there is no module {target!r}; run this from the folder that holds it")
    if spec.origin is not None:
        return [Path(spec.origin).resolve()]
    return [Path(folder) / "__init__.py" for folder in spec.submodule_search_locations or ()]


def _is_file(target: str) -> bool:
    return target.endswith(".py") or "/" in target or "\\" in target


def _workflows(module: ModuleType) -> list[Workflow[..., Any]]:
    values = list(vars(module).values())
    return [cast("Workflow[..., Any]", value) for value in values if isinstance(value, Workflow)]


def _choose(app: str, name: str, modules: Sequence[ModuleType]) -> Workflow[..., Any]:
    found = [workflow for module in modules for workflow in _workflows(module)]
    variables = [vars(module)[name] for module in modules if name in vars(module)]
    for workflow in found:
        if any(workflow is value for value in variables):
            return workflow
    for workflow in found:
        if workflow.name == name:
            return workflow
    names = {workflow.name for workflow in found}.union(*map(dags_of, modules))
    known = ", ".join(sorted(names)) or "none"
    what = "is no @workflow" if variables else "does not exist"
    raise NotFound(f"{app}: {name!r} {what}; workflows there: {known}")


def _import(target: str) -> Iterator[ModuleType]:
    if _is_file(target):
        yield _import_file(Path(target))
        return
    package = target.removesuffix(".*")
    if not all(part.isidentifier() for part in package.split(".")):
        raise NotFound(
            f"{target!r} is neither a file (examples/orders.py) nor a module (examples.orders, examples.*)"
        )
    first = _import_module(package)
    yield first
    if target.endswith(".*"):
        if not hasattr(first, "__path__"):
            raise NotFound(f"{package!r} is a module, not a package: drop the '.*'")
        for name in _below(first):
            yield _import_module(name)


def _below(package: ModuleType) -> Iterator[str]:
    """The modules of a package and of its packages; `__main__` modules start work and are left out."""
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if info.name.endswith(".__main__"):
            continue
        yield info.name
        if info.ispkg:
            yield from _below(_import_module(info.name))


def _import_file(path: Path) -> ModuleType:
    file = path.resolve()
    if not file.is_file():
        raise NotFound(f"there is no file {str(path)!r} in {Path.cwd()}")
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        parts, folder = [folder.name, *parts], folder.parent
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if not all(part.isidentifier() for part in name.split(".")):
        raise ImportFailed(
            f"{path}: {name!r} is no module name, so that runs cannot import it; rename the file", [file]
        )
    _put_on_path(folder)
    module = _import_module(name)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file:
        raise ImportFailed(
            f"{path}: its name {name!r} belongs to {found or 'a built-in module'}; rename the file", [file]
        )
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotFound(f"there is no module {name!r}; run this from the folder that holds it") from error
        raise _failed(name, error) from error
    except SyntaxError as error:
        files = [Path(error.filename)] if error.filename else []
        raise ImportFailed(
            f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}", files
        ) from error
    except SystemExit as error:
        raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> ImportFailed:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and frame.filename != __file__
        and importlib.__file__ != frame.filename
    ]
    mine = [frame for frame in frames if is_users(Path(frame.filename))] or frames
    place = f"{mine[-1].filename}:{mine[-1].lineno}: " if mine else f"{name}: "
    hint = f". {_MAIN_GUARD}" if isinstance(error, SystemExit) or "running event loop" in str(error) else ""
    return ImportFailed(
        f"{place}{type(error).__name__}: {error}{hint}", [Path(frame.filename) for frame in mine]
    )


def is_users(file: Path) -> bool:
    """Whether a source file is the user's: not Python's, not installed."""
    folders = {part.lower() for part in file.parts}
    return not folders & {"site-packages", "dist-packages"} and not file.is_relative_to(_STANDARD_LIBRARY)


_STANDARD_LIBRARY = Path(traceback.__file__).resolve().parent


def users_files() -> list[Path]:
    """The user's source files among those that this process has imported."""
    named = (
        getattr(module, "__file__", None)
        for name, module in list(sys.modules.items())
        if not name.startswith(_OURS)
    )
    files = {Path(name).resolve() for name in named if name}
    return sorted(file for file in files if file.suffix == ".py" and is_users(file))


_OURS = ("holdfast.", "holdfast_server.", "holdfast_executors.", "holdfast_ui.")


def _put_on_path(folder: Path) -> None:
    text = str(folder)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)
