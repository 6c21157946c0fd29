"""Which box of a run's picture a call belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from temporalio.api.history.v1 import HistoryEvent

from holdfast.engine.history.calls import Call
from holdfast.engine.history.causes import infer
from holdfast.engine.history.dag_graph import node_of_call, node_of_child, tool_of_call, wait_name
from holdfast.engine.history.graph import box_ids
from holdfast.engine.history.payloads import Opened
from holdfast.engine.history.sketch import Sketch
from holdfast.engine.history.turns import read_calls
from holdfast.spec.model import DagSpec

_WAITS: Final = frozenset({"timer", "wait", "approval"})
NodeOf: TypeAlias = Callable[[Call], str | None]


@dataclass(kw_only=True)
class Boxes:
    """The calls of a run and their boxes."""

    steps: Mapping[tuple[int, str], str] = field(default_factory=dict[tuple[int, str], str])
    """The boxes of steps, by the number of the execution and the activity id."""

    others: Mapping[str, Sequence[tuple[Call, str | None]]] = field(
        default_factory=dict[str, Sequence[tuple[Call, str | None]]]
    )
    """Timers, child runs, waits and approvals by kind, in the order of the history, with their boxes."""


def read_boxes(events: Sequence[HistoryEvent], opened: Opened, node_of: NodeOf | None = None) -> Boxes:
    """Read the calls of a chain of executions.

    Args:
        events: All that there are, one execution after the other.
        opened: The payloads that a codec had to open.
        node_of: Says which node of its DAG a call belongs to. Default: the boxes of the inferred picture.
    """
    found = read_calls(events, opened)
    calls = [call for turn in found.turns for call in turn.called]
    if node_of is None:
        sketch = Sketch.of(infer(found, opened))
        ids = box_ids(sketch)
        box_of = {call: ids[box] for box, members in sketch.boxes.items() for call in members}
        node_of = box_of.get
    steps: dict[tuple[int, str], str] = {}
    others: dict[str, list[tuple[Call, str | None]]] = {}
    for call in calls:
        node = node_of(call)
        if call.kind != "step":
            others.setdefault(call.kind, []).append((call, node))
        elif node is not None:
            steps[call.execution, call.name] = node
    return Boxes(steps=steps, others=others)


def node_of(spec: DagSpec) -> NodeOf:
    """Says which node of a DAG a call is for."""
    waits = {(node.type, wait_name(node)): node.id for node in reversed(spec.nodes) if node.type in _WAITS}
    children = [node for node in spec.nodes if node.type == "workflow"]

    def find(call: Call) -> str | None:
        found: str | None = None
        if call.kind == "step":
            tool = tool_of_call(call.name)
            found = node_of_call(call.name) or (tool[0] if tool else None)
        elif call.kind == "workflow":
            found = node_of_child(call, spec, children)
        elif call.kind in _WAITS:
            found = waits.get((call.kind, call.name))
        return found if found in spec.by_id else None

    return find
