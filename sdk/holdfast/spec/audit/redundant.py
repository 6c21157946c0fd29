"""Dependencies that follow from others."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.spec.audit.remark import Remark, placed
from holdfast.spec.check_expressions import referenced
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, switch_targets


def check_redundant(spec: DagSpec, graph: Graph) -> Iterator[Remark]:
    """Remarks about dependencies without which the order would be the same.

    One whose output the node uses says where a value comes from, and one on a switch that may choose the node decides
    whether it runs: those are left alone.
    """
    implied = graph.implied
    if not implied:
        return
    used = referenced(spec)
    for path, node in placed(spec):
        for source, through in implied.get(node.id, ()):
            chooses = spec.by_id[source].type == "switch" and node.id in switch_targets(spec.by_id[source])
            if source not in used.get(node.id, ()) and not chooses:
                yield Remark(
                    "HF-A012",
                    f"{node.id!r} depends on {source!r}, for which {through!r} waits anyway",
                    "Remove that dependency.",
                    node.id,
                    path,
                )
