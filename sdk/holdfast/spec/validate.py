"""Everything that is wrong with a DAG document, found at once and in linear time."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from holdfast.errors import InvalidInput
from holdfast.spec.check_config import check_configs
from holdfast.spec.check_expressions import Expressions, check_expressions
from holdfast.spec.check_graph import check_graph
from holdfast.spec.check_names import check_names
from holdfast.spec.check_nesting import MAX_NESTING, check_nesting, inline_documents
from holdfast.spec.document import load_value
from holdfast.spec.finding import Finding, cut, refuse
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec

JsonSchema: TypeAlias = Mapping[str, Any]

MAX_NODES: Final = 10_000
"""No DAG has more nodes; a map over a list has one node, however long the list is."""


def validate(
    spec: DagSpec,
    *,
    catalogue: Mapping[str, JsonSchema] | None = None,
    steps: Mapping[str, JsonSchema | None] | None = None,
    workflows: Mapping[str, DagSpec | None] | None = None,
    expressions: Expressions | None = None,
) -> list[Finding]:
    """Check a spec.

    Args:
        spec: The document.
        catalogue: The executors that workers offer, each with the JSON Schema of its config. `None`: types and
            configs of executors are not checked.
        steps: The steps that workers offer, each with the JSON Schema of its arguments (an object with one property
            per parameter) if known. `None`: any name will do.
        workflows: The workflows that may be started as children: the spec of a DAG, `None` for one written as code.
            `None` for the mapping: names are not checked, only that the document does not start itself.
        expressions: The expression language. Default: CEL.

    Returns:
        Findings in the order of the document where they have one; empty if all is well. Of one code at most 200, and
        one that counts the rest.
    """
    return _validate(spec, catalogue, steps, workflows, expressions, 1)


def _validate(
    spec: DagSpec,
    catalogue: Mapping[str, JsonSchema] | None,
    steps: Mapping[str, JsonSchema | None] | None,
    workflows: Mapping[str, DagSpec | None] | None,
    expressions: Expressions | None,
    level: int,
) -> list[Finding]:
    if len(spec.nodes) > MAX_NODES:
        return [
            Finding(
                code="HF-D020",
                message=f"{len(spec.nodes):,} nodes; at most {MAX_NODES:,} are run",
                fix="Use a map for nodes that do the same to many items, or split it into sub-workflows.",
            )
        ]
    graph = Graph.of(spec)

    def inner(held: DagSpec) -> list[Finding]:
        return _validate(held, catalogue, steps, workflows, expressions, level + 1)

    checks: list[Callable[[], Iterator[Finding]]] = [
        functools.partial(check_names, spec),
        functools.partial(check_graph, spec, graph),
        functools.partial(check_configs, spec, catalogue, steps),
        functools.partial(check_nesting, spec, workflows),
        functools.partial(check_expressions, spec, graph, expressions),
        functools.partial(_inline_findings, spec, level, inner),
    ]
    return cut(finding for check in checks for finding in check())


def _inline_findings(
    spec: DagSpec, level: int, inner: Callable[[DagSpec], list[Finding]]
) -> Iterator[Finding]:
    """Findings about the documents that nodes of type `workflow` hold, with the place in the whole."""
    for index, node, held in inline_documents(spec):
        path = f"nodes[{index}].config.workflow"
        if level >= MAX_NESTING:
            yield Finding(
                code="HF-D022",
                message=f"{node.id!r} holds a workflow nested {level + 1} deep; at most {MAX_NESTING} are run",
                fix="Write some of them into one document.",
                node=node.id,
                path=path,
            )
            continue
        try:
            findings = inner(load_value(held, check=inner))
        except InvalidInput as error:
            findings = [Finding(**found) for found in error.details["findings"]]
        for found in findings:
            below = f"{path}.{found.path}" if found.path else path
            yield dataclasses.replace(found, node=node.id, path=below, message=f"{node.id}: {found.message}")


def ensure_valid(
    spec: DagSpec,
    *,
    catalogue: Mapping[str, JsonSchema] | None = None,
    steps: Mapping[str, JsonSchema | None] | None = None,
    workflows: Mapping[str, DagSpec | None] | None = None,
    expressions: Expressions | None = None,
) -> None:
    """Raise if `validate` finds an error; takes the same arguments.

    Raises:
        InvalidInput: With all findings in `details["findings"]`.
    """
    refuse(
        spec.name,
        validate(spec, catalogue=catalogue, steps=steps, workflows=workflows, expressions=expressions),
    )
