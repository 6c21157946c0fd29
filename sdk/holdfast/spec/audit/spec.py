"""The audit of a DAG: what `validate` finds, and what may run but should not be relied on."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from holdfast.spec.audit.branches import check_branches
from holdfast.spec.audit.effects import check_effects
from holdfast.spec.audit.ends import check_ends
from holdfast.spec.audit.level import Level
from holdfast.spec.audit.redundant import check_redundant
from holdfast.spec.audit.remark import Remark
from holdfast.spec.audit.rules import MEANINGS, severity
from holdfast.spec.audit.waits import check_waits
from holdfast.spec.finding import Finding, cut
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec
from holdfast.spec.validate import MAX_NODES, validate


def audit_spec(
    spec: DagSpec, *, level: Level = "normal", safe_steps: Collection[str] = frozenset()
) -> list[Finding]:
    """Audit a DAG, in linear time.

    Args:
        spec: The document.
        level: How strict.
        safe_steps: The names of steps that are stated to be idempotent.

    Returns:
        What `validate` finds, then the findings of the audit's own rules (`HF-A0xx`); of one code at most 200, and one
        that counts the rest.
    """
    wrong = validate(spec)
    if len(spec.nodes) > MAX_NODES:
        return wrong
    found: list[Finding] = []
    for remark in _remarks(spec, safe_steps):
        if (graded := severity(remark.code, level, remark.size)) is not None:
            code, message, fix, node, path, _ = remark
            found.append(Finding(code=code, message=message, fix=fix, severity=graded, node=node, path=path))
    return [*wrong, *cut(found, MEANINGS)]


def _remarks(spec: DagSpec, safe_steps: Collection[str]) -> Iterator[Remark]:
    graph = Graph.of(spec)
    for check in (check_ends, check_branches, check_waits, check_redundant):
        yield from check(spec, graph)
    yield from check_effects(spec, safe_steps)
