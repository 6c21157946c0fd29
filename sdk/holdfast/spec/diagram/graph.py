"""What a picture shows: nodes with a state and a count, and edges. Made from a spec, or from what a run did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.states import StepState

Shape: TypeAlias = Literal["box", "diamond", "hexagon", "rounded", "stack", "double"]

SHAPES: Final[Mapping[str, Shape]] = {
    "switch": "diamond",
    "wait": "hexagon",
    "approval": "hexagon",
    "timer": "rounded",
    "workflow": "double",
    "map": "stack",
}
"""The shape of each kind of node; all others are boxes."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a state is shown: by colour and by a sign, so that it is read without colours too."""

    fill: str
    line: str
    sign: str


PLAIN: Final = Look(fill="#f8fafc", line="#64748b", sign="")
LOOKS: Final[Mapping[StepState, Look]] = {
    StepState.PENDING: Look(fill="#f1f5f9", line="#94a3b8", sign="·"),
    StepState.RUNNING: Look(fill="#dbeafe", line="#2563eb", sign="▶"),
    StepState.RETRYING: Look(fill="#ffedd5", line="#ea580c", sign="↻"),
    StepState.WAITING: Look(fill="#fef9c3", line="#ca8a04", sign="…"),
    StepState.COMPLETED: Look(fill="#dcfce7", line="#16a34a", sign="✓"),
    StepState.FAILED: Look(fill="#fee2e2", line="#dc2626", sign="✗"),
    StepState.SKIPPED: Look(fill="#ffffff", line="#cbd5e1", sign="»"),
    StepState.COMPENSATED: Look(fill="#f3e8ff", line="#9333ea", sign="↩"),
    StepState.CANCELLED: Look(fill="#e2e8f0", line="#475569", sign="⊘"),
}


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """What is shown of a node's state in a run."""

    state: StepState | None = None
    count: int | None = None
    """Items of a map, or calls that are drawn as one box."""
    detail: str = ""
    """One more line, for example `2 attempts, 1.4 s`."""


@dataclass(frozen=True, kw_only=True)
class DiagramNode:
    """A box in a picture."""

    id: str
    label: str
    kind: str = "step"
    """`step`, `map`, `switch`, `wait`, `approval`, `timer`, `workflow`, or an executor: it decides on the shape."""
    state: StepState | None = None
    count: int | None = None
    detail: str = ""

    @property
    def shape(self) -> Shape:
        """The shape of its box."""
        return SHAPES.get(self.kind, "box")

    @property
    def look(self) -> Look:
        """Its colours and its sign."""
        return LOOKS[self.state] if self.state is not None else PLAIN

    @property
    def title(self) -> str:
        """Its label on one line, with its sign and its count."""
        parts = [self.look.sign, one_line(self.label) or one_line(self.id)]
        if self.count is not None:
            parts.append(f"\N{MULTIPLICATION SIGN}{self.count:,}")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class DiagramEdge:
    """An arrow in a picture."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class DiagramGraph:
    """A picture's nodes and edges. Edges whose ends are no nodes are not drawn."""

    nodes: tuple[DiagramNode, ...]
    edges: tuple[DiagramEdge, ...] = ()
    title: str = ""

    def drawn_edges(self) -> list[tuple[int, int, str]]:
        """The edges between existing, different nodes as positions in `nodes`, each pair once."""
        position = {node.id: index for index, node in reversed(list(enumerate(self.nodes)))}
        found: dict[tuple[int, int], str] = {}
        for edge in self.edges:
            source, target = position.get(edge.source), position.get(edge.target)
            if source is not None and target is not None and source != target:
                found.setdefault((source, target), edge.label)
        return [(source, target, label) for (source, target), label in found.items()]


def of_spec(spec: DagSpec, statuses: Mapping[str, NodeStatus] | None = None) -> DiagramGraph:
    """The picture of a spec, with the states of a run if they are given by node id. An invalid spec is drawn too."""
    statuses = statuses or {}
    nodes = tuple(_node(node, statuses.get(node.id, NodeStatus())) for node in spec.by_id.values())
    labels = {pair: label for node in spec.nodes if node.type == "switch" for pair, label in _branches(node)}
    edges = tuple(
        DiagramEdge(source=source, target=target, label=labels.get((source, target), ""))
        for target, sources in spec.dependencies.items()
        for source in sources
    )
    return DiagramGraph(nodes=nodes, edges=edges, title=spec.name)


def _node(node: NodeSpec, status: NodeStatus) -> DiagramNode:
    return DiagramNode(
        id=node.id,
        label=node.title,
        kind="map" if node.map is not None else node.type,
        state=status.state,
        count=status.count,
        detail=status.detail or (f"when {node.when}" if node.when else ""),
    )


def _branches(node: NodeSpec) -> list[tuple[tuple[str, str], str]]:
    cases, found = node.config.get("cases"), list[tuple[tuple[str, str], str]]()
    branches: list[tuple[JsonValue, str]] = [(node.config.get("default"), "default")]
    branches += [
        (case.get("to"), str(case.get("name") or case.get("when") or ""))
        for case in (cases if isinstance(cases, list) else [])
        if isinstance(case, dict)
    ]
    for targets, label in reversed(branches):
        for target in targets if isinstance(targets, list) else [targets]:
            if isinstance(target, str):
                found.append(((node.id, target), label))
    return found


def one_line(text: str, max_chars: int = 60) -> str:
    """A text without control characters and line breaks, shortened."""
    if len(text) <= max_chars and text.isprintable():
        return text.strip()
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * max_chars])
    clean = " ".join(clean.split())
    return clean if len(clean) <= max_chars else clean[: max_chars - 1] + "…"
