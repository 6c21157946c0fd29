"""Starts, ends, and nodes that stand apart."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.spec.audit.remark import Remark, placed
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec


def check_ends(spec: DagSpec, graph: Graph) -> Iterator[Remark]:
    """Remarks about where the graph begins and ends."""
    if not spec.nodes:
        return
    has_twins = len(graph.ids) < len(spec.nodes)
    if all(spec.dependencies[node] for node in graph.ids) and not has_twins:
        yield Remark(
            "HF-A001",
            "no node can start, since each waits for something",
            "Let one node depend on nothing.",
        )
    if not graph.leaves and not has_twins:
        yield Remark(
            "HF-A002",
            "no node is the last, since each is waited for by another",
            "Remove a dependency of the cycle.",
        )
    waited_for = {
        source for sources in spec.dependencies.values() for source in sources if source in spec.by_id
    }
    if not waited_for:
        return
    for path, node in placed(spec):
        if not spec.dependencies[node.id] and node.id not in waited_for:
            yield Remark(
                "HF-A004",
                f"{node.id!r} waits for nothing and nothing waits for it, while other nodes are connected",
                "Connect it, or give it a workflow of its own.",
                node.id,
                path,
            )
