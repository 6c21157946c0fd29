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
    if all(spec.dependencies[node] for node in graph.ids):
        yield Remark(
            "HF-A001",
            f"each of the {len(graph.ids):,} nodes waits for another, so that none can start",
            "Let one node depend on nothing.",
        )
    waited_for = {
        source for sources in spec.dependencies.values() for source in sources if source in spec.by_id
    }
    if len(waited_for) == len(graph.ids):
        yield Remark(
            "HF-A002",
            f"each of the {len(graph.ids):,} nodes is waited for by another, so that none is the last",
            "Remove a dependency of the cycle.",
        )
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
