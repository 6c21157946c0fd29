"""The graph: dependencies that exist, no cycles, nothing that cannot start, no endless chain."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Final

from holdfast.spec.finding import Finding
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, switch_targets

MAX_CHAIN: Final = 5_000
"""No chain of nodes, each waiting for the one before, is longer."""

MAX_SHOWN: Final = 12
"""A cycle is shown with at most so many of its nodes."""


def closest(name: str, names: Iterable[str]) -> str:
    """A sentence that names what was probably meant; empty if nothing is close."""
    choices = list(names)
    if len(choices) > 2000:  # comparing with each takes too long
        return ""
    found = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    return f"Did you mean {found[0]!r}? " if found else ""


def check_graph(spec: DagSpec, graph: Graph) -> Iterator[Finding]:
    """Findings about dependencies."""
    broken: set[str] = set()
    for finding in _check_references(spec):
        yield finding
        if finding.node is not None:
            broken.add(finding.node)
    twins = {node.id for node in spec.nodes if spec.by_id[node.id] is not node}
    for cycle in graph.cycles():
        if not twins.isdisjoint(cycle):
            continue  # nobody knows which of two nodes with one id waits for what
        shown = cycle if len(cycle) <= MAX_SHOWN else (*cycle[:6], "...", *cycle[-5:])
        yield Finding(
            code="HF-D012",
            message=f"a cycle: {' -> '.join(shown)}",
            fix=f"Remove one of these dependencies, for example {cycle[-2]!r} from what {cycle[0]!r} depends on; "
            "to repeat a node use `loop`.",
            node=cycle[0],
        )
    yield from _check_unreachable(spec, graph, broken)
    if graph.depth > MAX_CHAIN:
        yield Finding(
            code="HF-D021",
            message=f"the longest chain has {graph.depth:,} nodes, each waiting for the one before; at most "
            f"{MAX_CHAIN:,} are run",
            fix="Split it into sub-workflows, or use a loop.",
        )


def _check_references(spec: DagSpec) -> Iterator[Finding]:
    ids = spec.by_id
    written: list[tuple[str, str, str, str]] = []
    for index, node in enumerate(spec.nodes):
        for position, source in enumerate(node.depends_on):
            if source == node.id or source not in ids:
                written.append((source, node.id, source, f"nodes[{index}].depends_on[{position}]"))
        if node.type == "switch":
            place = f"nodes[{index}].config"
            written.extend((node.id, target, target, place) for target in switch_targets(node))
    for index, edge in enumerate(spec.edges):
        for name, key in ((edge.source, "from"), (edge.target, "to")):
            if name not in ids:
                written.append((edge.source, edge.target, name, f"edges[{index}].{key}"))
        if edge.source == edge.target and edge.source in ids:
            written.append((edge.source, edge.target, edge.source, f"edges[{index}]"))
    hints: dict[str, str] = {}
    for source, target, wrong, path in written:
        if source != target and wrong in ids:
            continue
        holder = target if target in ids else source if source in ids else None
        if source == target and source in ids:
            yield Finding(
                code="HF-D011",
                message=f"{source!r} depends on itself",
                fix="Remove that dependency; to repeat a node use `loop`.",
                node=holder,
                path=path,
            )
        else:
            if wrong not in hints and len(hints) < 20:
                hints[wrong] = closest(wrong, ids)
            yield Finding(
                code="HF-D010",
                message=f"{path} names {wrong!r}, which is no node",
                fix=f"{hints.get(wrong, '')}Name an existing node, or add that one.",
                node=holder,
                path=path,
            )


def _check_unreachable(spec: DagSpec, graph: Graph, broken: set[str]) -> Iterator[Finding]:
    """Nodes that wait for something that never ends, and nodes that are switched off for good."""
    in_cycles = {node for knot in graph.knots() for node in knot}
    behind_broken = graph.descendants(broken)
    for node_id, node in spec.by_id.items():
        if node_id in in_cycles or node_id in broken:
            continue
        if node_id not in graph.order_positions:
            yield _unreachable(node_id, "it waits for a cycle")
        elif node_id in behind_broken:
            yield _unreachable(
                node_id, "it waits for a node that waits for itself or for one that does not exist"
            )
        elif node.when is not None and node.when.strip() == "false":
            yield _unreachable(node_id, "its `when` is always false")


def _unreachable(node: str, reason: str) -> Finding:
    return Finding(
        code="HF-D013",
        severity="warning",
        message=f"{node!r} can never start: {reason}",
        fix="Mend what it waits for, or remove it.",
        node=node,
    )
