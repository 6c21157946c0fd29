"""What `holdfast audit` looks at: files, folders and modules, and what it finds in them."""

from __future__ import annotations

import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from holdfast import Dag, NotFound
from holdfast.authoring.registry import registry
from holdfast.errors import HoldfastError, InvalidInput
from holdfast.spec.audit import (
    Level,
    audit_document,
    audit_source,
    audit_spec,
    declares_dag,
    is_dag_document,
)
from holdfast.spec.finding import Finding
from holdfast_server.apps import load_app, split, where_to_look

_DOCUMENTS: Final = {".json", ".yaml", ".yml"}
_LEFT_OUT: Final = {"__pycache__", "node_modules", "site-packages"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finding and where it is."""

    file: str
    finding: Finding
    dag: str | None = None
    """The DAG, where a Python file makes it."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        placed = {"file": self.file} | ({"dag": self.dag} if self.dag else {})
        return placed | self.finding.as_dict()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an audit has found."""

    found: list[Found] = field(default_factory=list[Found])
    files: list[str] = field(default_factory=list[str])
    """The files that were looked at."""
    problems: list[str] = field(default_factory=list[str])
    """What could not be audited, and why."""


def audit(app: str, level: Level, progress: Callable[[str], None]) -> Report:
    """Audit a document, a Python file, a folder of them, or an app.

    Args:
        app: A path or a module, with `:name` to look at one workflow or DAG of it only.
        level: How strict.
        progress: Gets the name of each file before it is read.
    """
    auditor = _Auditor(level)
    try:
        files, name = _files(app)
    except HoldfastError as error:
        return Report(problems=[error.message])
    for file, certain in files:
        progress(str(file))
        auditor.audit(file, name, certain=certain)
    if name and not auditor.matched and not auditor.report.problems:
        auditor.report.problems.append(f"{app}: there is no workflow or DAG {name!r}")
    return auditor.report


def _files(app: str) -> tuple[list[tuple[Path, bool]], str]:
    """The files, each with whether it was asked for; and the name after the colon."""
    target, name = split(app)
    path = Path(target)
    if path.is_dir():
        return [(file, False) for file in _below(path)], name
    if path.suffix in _DOCUMENTS or path.suffix == ".py" or path.is_file():
        if not path.is_file():
            raise NotFound(f"there is no file {target!r} in {Path.cwd()}")
        return [(path, True)], name
    try:
        found = where_to_look(target)
    except HoldfastError:
        raise NotFound(f"{target!r} is no file, folder or module in {Path.cwd()}") from None
    except Exception as error:  # noqa: BLE001 - to find a module imports the packages around it, which are the user's
        raise InvalidInput(f"{target!r} cannot be found: {type(error).__name__}: {error}") from None
    if target.endswith(".*"):
        return [(file, False) for path in found for file in _below(path.parent)], name
    return [(path, True) for path in found if path.is_file()], name


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if not path.name.startswith(".") and path.name not in _LEFT_OUT and not path.is_symlink():
                yield from () if (path / "pyvenv.cfg").exists() else _below(path)
        elif path.suffix == ".py" or path.suffix in _DOCUMENTS:
            yield path


class _Auditor:
    def __init__(self, level: Level) -> None:
        self.report = Report()
        self.matched = False
        self._level: Level = level
        self._dags: set[int] = set()

    def audit(self, file: Path, name: str, *, certain: bool) -> None:
        """Look at one file.

        Args:
            file: The file.
            name: The only workflow or DAG to look at; empty for all.
            certain: Whether it is there to be audited; else a document that is plainly no DAG is passed over.
        """
        shown = _shown(file)
        try:
            text = _read(file)
            if file.suffix in _DOCUMENTS:
                self._document(text, shown, certain=certain)
                return
            self.report.files.append(shown)
            self._code(text, shown, name)
            if declares_dag(text, shown):
                self._made_by(file, shown, name)
        except (HoldfastError, OSError) as error:
            message = error.message if isinstance(error, HoldfastError) else str(error)
            self.report.problems.append(message if shown in message else f"{shown}: {message}")

    def _document(self, text: str, shown: str, *, certain: bool) -> None:
        yaml = not shown.endswith(".json")
        meant = certain or is_dag_document(text, yaml=yaml)
        if meant is False:
            return
        self.matched = True
        self.report.files.append(shown)
        findings = audit_document(text, yaml=yaml, level=self._level)
        if meant is None:
            said = "so that nobody can tell whether it is a DAG"
            findings = [
                replace(finding, severity="warning", message=f"{finding.message}, {said}")
                for finding in findings
            ]
        self._add(shown, findings)

    def _code(self, text: str, shown: str, name: str) -> None:
        try:
            found = audit_source(text, shown, level=self._level, workflow=name or None)
        except NotFound:  # perhaps a DAG
            return
        self.matched = True
        self._add(shown, found)

    def _made_by(self, file: Path, shown: str, name: str) -> None:
        try:
            modules = load_app(str(file)).modules
        except HoldfastError as error:
            raise InvalidInput(
                f"{shown}: its DAGs are not audited, since it does not import: {error.message}"
            ) from None
        for module in modules:
            for variable, value in list(vars(module).items()):
                if (
                    not isinstance(value, Dag)
                    or id(value) in self._dags
                    or name not in ("", variable, value.name)
                ):
                    continue
                self._dags.add(id(value))
                self.matched = True
                self._add(shown, self._dag(value), dag=value.name)

    def _dag(self, dag: Dag) -> Sequence[Finding]:
        try:
            spec = dag.compile()
        except InvalidInput as error:
            if not (written := error.details.get("findings")):
                raise
            return [Finding(**finding) for finding in written]
        safe = {step.name for step in registry().all_steps() if step.options.idempotent}
        return audit_spec(spec, level=self._level, safe_steps=safe)

    def _add(self, shown: str, findings: Sequence[Finding], *, dag: str | None = None) -> None:
        self.report.found.extend(Found(file=shown, finding=finding, dag=dag) for finding in findings)


def _read(file: Path) -> str:
    """The text of a file; Python says itself how it is encoded."""
    try:
        if file.suffix in _DOCUMENTS:
            return file.read_text("utf-8-sig")
        with tokenize.open(file) as opened:
            return opened.read()
    except (UnicodeDecodeError, SyntaxError) as error:
        raise InvalidInput(f"its text cannot be read: {error}") from None


def _shown(file: Path) -> str:
    absolute, here = file.resolve(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
