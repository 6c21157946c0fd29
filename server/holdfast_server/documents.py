"""DAGs from the command line: a document in JSON or YAML, or the `Dag` objects of an app."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Final

from holdfast import Dag, InvalidInput, NotFound
from holdfast.authoring.catalogue import validate_here
from holdfast.errors import HoldfastError
from holdfast.spec.audit import is_dag_document, unreadable
from holdfast.spec.document import Check, load_json, load_yaml, placed
from holdfast.spec.finding import Finding
from holdfast.spec.model import DagSpec
from holdfast.spec.source import json_places
from holdfast.spec.strict_json import MAX_JSON_BYTES
from holdfast.spec.strict_yaml import yaml_places
from holdfast_server.apps import dags_of, load_app, split

_SUFFIXES: Final = (".json", ".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A DAG as it was found, and what is wrong with it."""

    name: str
    """Where it comes from: a file, or `app:name`."""
    spec: DagSpec | None
    """None if its form is too wrong to read."""
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def errors(self) -> int:
        """How many findings keep it from being run."""
        return sum(finding.severity == "error" for finding in self.findings)


def is_document(target: str) -> bool:
    """Whether a target is a document rather than an app.

    Raises:
        InvalidInput: It is one with a name behind it.
    """
    file, name = split(target)
    if name and file.endswith(_SUFFIXES):
        raise InvalidInput(f"{file} is a document, which describes one DAG: leave out ':{name}'")
    return target.endswith(_SUFFIXES)


def read_dags(target: str, check: Check = validate_here) -> list[Checked]:
    """The DAGs of a document, of a folder of documents or of an app, each with all its findings.

    Args:
        target: A file, a folder or an app.
        check: Finds what is wrong with each.

    Raises:
        NotFound: There is no such file, module or DAG.
        InvalidWorkflow: The app cannot be imported.
    """
    if is_document(target):
        return [_read_document(target, check)]
    if File(target).is_dir():
        return _read_folder(target, check)
    app, name = split(target)
    dags = {label: dag for module in load_app(app).modules for label, dag in dags_of(module).items()}
    chosen = {label: dag for label, dag in dags.items() if name in ("", label, dag.name)}
    if not chosen:
        known = ", ".join(dags) or "none"
        raise NotFound(f"{target}: it has no Dag{f' {name!r}' if name else ''}; there are: {known}")
    return [_compiled(f"{app}:{label}", dag, check) for label, dag in chosen.items()]


def one_spec(target: str) -> DagSpec:
    """The only DAG of a document or an app, well formed or not as a graph.

    Raises:
        NotFound: There is none.
        InvalidInput: There are several, or it cannot be read.
    """
    found = read_dags(target)
    if len(found) > 1:
        raise InvalidInput(
            f"{target} has {len(found)} DAGs; name one: {', '.join(one.name for one in found)}"
        )
    spec = found[0].spec
    if spec is None:
        raise InvalidInput("\n".join([f"{found[0].name} cannot be read:", *map(str, found[0].findings)]))
    return spec


def _read_folder(name: str, check: Check) -> list[Checked]:
    files = sorted(str(file) for file in File(name).rglob("*") if file.suffix in _SUFFIXES)
    found = [_read_document(file, check) for file in files if _may_be_dag(File(file))]
    if not found:
        raise NotFound(
            f"{name}: there is no DAG document in this folder; name an app for Dag objects in Python"
        )
    return found


def _may_be_dag(file: File) -> bool:
    """Whether a file is not plainly something else."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return True  # reading it says what is wrong
    return is_dag_document(text, yaml=file.suffix != ".json") is not False


def _compiled(name: str, dag: Dag, check: Check) -> Checked:
    try:
        spec = dag.compile()
    except HoldfastError as error:
        return Checked(name=name, spec=None, findings=unreadable(error))
    return Checked(name=name, spec=spec, findings=check(spec))


def _read_document(name: str, check: Check) -> Checked:
    try:
        with File(name).open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise NotFound(f"{name}: {error.strerror}") from error
    is_json = name.endswith(".json")
    try:
        spec = load_json(data, check=check) if is_json else load_yaml(data, check=check)
    except InvalidInput as error:
        return Checked(name=name, spec=None, findings=unreadable(error))
    text = data.decode("utf-8-sig")
    places = json_places(text) if is_json else yaml_places(text)
    ids = [node.id for node in spec.nodes]
    return Checked(name=name, spec=spec, findings=placed(check(spec), places, ids))
