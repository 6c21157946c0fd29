"""What the executors of this process take and give, and what it finds wrong with the nodes of a document."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.authoring.check_served import check_served
from holdfast.authoring.check_steps import check_steps
from holdfast.authoring.check_tools import check_tools
from holdfast.authoring.config_schema import config_schema
from holdfast.authoring.execution import checked, templates_in_code
from holdfast.authoring.executor import Executor
from holdfast.authoring.lent import further_calls
from holdfast.authoring.registry import registry
from holdfast.catalogue import Catalogue
from holdfast.errors import InvalidExecutor, InvalidInput
from holdfast.options import ExecutorOptions
from holdfast.redaction import Redactor
from holdfast.spec.check_expressions import Expressions
from holdfast.spec.finding import Finding, cut, refuse
from holdfast.spec.model import DagSpec, NodeSpec, RetrySpec
from holdfast.spec.templates import names
from holdfast.spec.validate import validate


@dataclass(frozen=True, kw_only=True)
class ExecutorEntry:
    """One executor, as the catalogue shows it."""

    type: str
    package: str
    """The package it comes from, or the module for one of this process."""
    description: str
    """The first sentences of its docstring."""
    config_schema: Mapping[str, Any]
    """JSON Schema of the config."""
    output_schema: Mapping[str, Any]
    """JSON Schema of the output."""
    options: ExecutorOptions

    def document(self) -> dict[str, Any]:
        """The same as plain JSON; durations in seconds."""
        options = self.options
        return {
            "type": self.type,
            "package": self.package,
            "description": self.description,
            "options": {
                "timeout": options.timeout.total_seconds(),
                "retry": RetrySpec.of(options.retry).model_dump(mode="json"),
                "heartbeat": options.heartbeat.total_seconds() if options.heartbeat else None,
                "has_effects": options.has_effects,
                "idempotent": options.idempotent,
                "local": options.local,
                "code_fields": list(options.code_fields),
            },
            "config_schema": dict(self.config_schema),
            "output_schema": dict(self.output_schema),
        }


def entry_of(executor: type[Executor[Any, Any]], *, package: str = "") -> ExecutorEntry:
    """What the catalogue shows of an executor."""
    return ExecutorEntry(
        type=executor.type,
        package=package or executor.__module__,
        description=(inspect.cleandoc(executor.__doc__) if executor.__doc__ else "").split("\n\n")[0],
        config_schema=config_schema(executor.Config),
        output_schema=executor.step.signature.result.json_schema(by_alias=True, mode="serialization"),
        options=executor.options,
    )


def catalogue() -> dict[str, ExecutorEntry]:
    """The executors of this process that can be used, by type; the others are in `registry().executors.problems()`."""
    executors = registry().executors
    broken = {problem.type for problem in executors.problems()}
    return {
        kind: entry_of(executors.find(kind), package=executors.package_of(kind))
        for kind in executors.types()
        if kind not in broken
    }


def validate_here(
    spec: DagSpec,
    *,
    expressions: Expressions | None = None,
    complete: bool = False,
    served: Catalogue | None = None,
) -> list[Finding]:
    """Check a spec, the configs of the executors that are installed here, and the calls of steps that are declared
    here. What this process does not know is left to the workers, which may.

    Args:
        spec: The document.
        expressions: The expression language. Default: CEL.
        complete: Whether what this process knows is all there is: then an unknown executor, step or workflow is an
            error.
        served: What workers have published, for what this process does not know.
    """
    known = _known(spec)
    schemas: dict[str, Mapping[str, Any]] = {kind: {} for kind in _types(spec)}
    if complete:
        schemas = {kind: {} for kind in registry().executors.types()}
    schemas |= {kind: config_schema(executor.Config) for kind, executor in known.items()}
    findings = validate(
        spec,
        catalogue=schemas,
        steps=dict.fromkeys(_step_names()) if complete else None,
        workflows=dict.fromkeys(registry().workflows()) if complete else None,
        expressions=expressions,
    )
    wrong = {finding.node for finding in findings if finding.severity == "error"}
    further = itertools.chain(
        _beyond_schemas(spec, known), check_steps(spec), check_tools(spec, known, complete=complete)
    )
    if served is not None and served.builds and not complete:
        further = itertools.chain(further, check_served(spec, served))
    return findings + cut(found for found in further if found.node not in wrong)


def _step_names() -> Iterator[str]:
    for step in registry().all_steps():
        yield from (step.name, *step.aliases)
        if step.compensation is not None:
            yield step.compensation.name


def ensure_valid_here(
    spec: DagSpec, *, expressions: Expressions | None = None, served: Catalogue | None = None
) -> None:
    """Raise if `validate_here` finds an error; takes the same arguments.

    Raises:
        InvalidInput: With all findings in `details["findings"]`.
    """
    refuse(spec.name, validate_here(spec, expressions=expressions, served=served))


def _types(spec: DagSpec) -> set[str]:
    used = {node.type for node in spec.nodes}
    return used | {node.compensate.type for node in spec.nodes if node.compensate is not None}


def _known(spec: DagSpec) -> dict[str, type[Executor[Any, Any]]]:
    executors, known = registry().executors, dict[str, type[Executor[Any, Any]]]()
    for kind in _types(spec) & set(executors.types()):
        try:
            known[kind] = executors.find(kind)
        except InvalidExecutor:
            continue  # a worker may have a package that works; this one has told its log
    return known


def _beyond_schemas(spec: DagSpec, known: Mapping[str, type[Executor[Any, Any]]]) -> Iterator[Finding]:
    """What only the executors themselves find, in configs that are complete before anything runs."""
    for index, node in enumerate(spec.nodes):
        path = f"nodes[{index}]"
        yield from _refused(node, node.type, node.config, f"{path}.config", known)
        if node.local and node.type in known and not known[node.type].options.local:
            yield Finding(
                code="HF-D032",
                message=f"{node.id!r} has 'local', and executor {node.type!r} may not run inside the workflow task",
                fix="Remove 'local'.",
                node=node.id,
                path=f"{path}.local",
            )
        if node.map is not None and node.type in known:
            yield from _followed(node, known[node.type], f"{path}.config")
        if (undo := node.compensate) is not None:
            yield from _refused(node, undo.type, undo.config, f"{path}.compensate.config", known)


def _followed(node: NodeSpec, kind: type[Executor[Any, Any]], path: str) -> Iterator[Finding]:
    """Fields that ask for further calls, which the one call of an item does not have."""
    for name in further_calls(kind, node.config):
        yield Finding(
            code="HF-D032",
            message=f"{node.id!r} has {name!r} and a map, which makes one call for each item: none can follow",
            fix="Map over a DAG that has this node.",
            node=node.id,
            path=f"{path}.{name}",
        )


def _refused(
    node: NodeSpec,
    kind: str,
    config: Mapping[str, Any],
    path: str,
    known: Mapping[str, type[Executor[Any, Any]]],
) -> Iterator[Finding]:
    try:
        if kind in known and (problem := templates_in_code(known[kind], config)):
            raise InvalidInput(f"the config of {node.id!r}: {problem}")
        if kind not in known or names(config):
            return
        checked(known[kind](), config, f"the config of {node.id!r}", Redactor())
    except InvalidInput as error:
        yield Finding(
            code="HF-D031",
            message=error.message,
            fix=f"Write what {kind!r} takes; `holdfast executors show {kind}` says more.",
            node=node.id,
            path=path,
        )
