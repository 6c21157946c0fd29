"""What a rule about graphs has to say, before a level makes a finding of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from holdfast.spec.model import DagSpec, NodeSpec


class Remark(NamedTuple):
    """A possible finding."""

    code: str
    message: str
    fix: str
    node: str | None = None
    path: str = ""
    size: int = 1
    """Of what the rule counts."""


def placed(spec: DagSpec) -> Iterator[tuple[str, NodeSpec]]:
    """Each node with its place in the document: `nodes[3]`. Of two with one id, the first."""
    by_id: Mapping[str, NodeSpec] = spec.by_id
    for index, node in enumerate(spec.nodes):
        if by_id[node.id] is node:
            yield f"nodes[{index}]", node
