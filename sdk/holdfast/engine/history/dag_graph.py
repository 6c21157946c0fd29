"""The picture of a run of a DAG: the document it started with, and the states that its history says.

No worker is asked. A call's activity id names its node; what a run took along from the execution before says how nodes
that had ended then are; what no event tells (a choice, a skipped node) follows from what ran after it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from pydantic import JsonValue
from temporalio.api.history.v1 import HistoryEvent

from holdfast.client.description import RunDescription, StepDescription
from holdfast.engine.children import MAP_WORKFLOW
from holdfast.engine.history.calls import Call, Calls
from holdfast.engine.history.facts import COMPENSATION_PREFIX
from holdfast.engine.history.labels import States, detail, took, worst
from holdfast.engine.history.payloads import Opened
from holdfast.engine.history.turns import read_calls
from holdfast.errors import HoldfastError
from holdfast.spec.diagram.graph import DiagramGraph, NodeStatus, of_spec
from holdfast.spec.document import load_value
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, NodeSpec, switch_targets
from holdfast.states import StepState

SKIP_NODE: Final = "skip_node"
"""The update by which somebody skips a node."""

_MAP_ITEMS: Final = 3
"""Which of its arguments is the list of items, or how many there are."""
_UNDO: Final = ":undo"
"""The end of the id of a child run that undoes a part of a map."""

_CALL_ID: Final = re.compile(r"(?P<node>[^\[\]@-]+)(?:\[(?P<index>\d+)\])?(?:-\d+)?(?:@.*)?")
"""`fetch`, `enrich[7]`, and those with `-2` for another call of the node or `@...` for a run that was started again."""

_TOOL_ID: Final = re.compile(
    r"(?P<node>[^\[\]@-]+)(?:\[(?P<index>\d+)\])?\[(?P<tool>[^\[\]]+)\](?:-\d+)?(?:@.*)?"
)
"""`answer[weather]`, `answer[3][weather]` in the third run of a loop: a tool that the node's executor asked for."""


def node_of_call(call_id: str) -> str | None:
    """The node whose step has this id, if it is one of a node."""
    match = _CALL_ID.fullmatch(call_id)
    return match["node"] if match and not call_id.startswith(COMPENSATION_PREFIX) else None


def tool_of_call(call_id: str) -> tuple[str, str] | None:
    """The node and the tool whose step has this id, if it is one of a tool."""
    match = _TOOL_ID.fullmatch(call_id)
    return (match["node"], match["tool"]) if match and not call_id.startswith(COMPENSATION_PREFIX) else None


def graph_of_dag(
    events: Iterable[HistoryEvent],
    document: JsonValue,
    *,
    carried: JsonValue = None,
    description: RunDescription | None = None,
    opened: Opened | None = None,
    reused: Sequence[StepDescription] = (),
) -> DiagramGraph | None:
    """The picture of a run of a DAG.

    Args:
        events: The events of its executions, in their order: all that there are.
        document: The first argument of the run.
        carried: What the last execution took along from those before.
        description: What the server says of open steps.
        opened: The payloads that a codec had to open.
        reused: Steps that it was given by an earlier execution, which no event of its own tells.

    Returns:
        None if the document is none that today's code can read.
    """
    try:
        spec = load_value(document)
    except HoldfastError:
        return None
    found, told = _read(events, spec, carried, description, opened or Opened(), reused)
    statuses = told.statuses()
    _infer(spec, statuses, told.by_hand, is_closed=found.is_closed, is_completed=found.is_completed)
    return of_spec(spec, statuses)


def undecided_nodes(
    events: Iterable[HistoryEvent],
    document: JsonValue,
    *,
    carried: JsonValue,
    description: RunDescription,
    opened: Opened,
) -> list[str]:
    """The nodes that have failed in an open run that asks what to do then.

    The arguments are those of `graph_of_dag`.
    """
    try:
        spec = load_value(document)
    except HoldfastError:
        return []
    _, told = _read(events, spec, carried, description, opened)
    return [node for node, status in told.statuses().items() if status.state is StepState.FAILED]


def _read(
    events: Iterable[HistoryEvent],
    spec: DagSpec,
    carried: JsonValue,
    description: RunDescription | None,
    opened: Opened,
    reused: Sequence[StepDescription] = (),
) -> tuple[Calls, _Told]:
    found = read_calls(events, opened)
    calls = [Call(kind="step", label=step.name, name=step.activity_id, outcome=step.state) for step in reused]
    calls += [call for turn in found.turns for call in turn.called]
    skipped = [
        opened.json(call.result[0]) for call in found.updates if call.name == SKIP_NODE and call.result
    ]
    by_hand = frozenset(node for node in skipped if isinstance(node, str))
    return found, _Told(spec, calls, States(calls, description), carried, opened, by_hand)


class _Told:
    """What events and carried state say of nodes."""

    def __init__(
        self,
        spec: DagSpec,
        calls: Sequence[Call],
        states: States,
        carried: JsonValue,
        opened: Opened,
        by_hand: frozenset[str],
    ) -> None:
        self._spec = spec
        self._opened = opened
        self._states = states
        self._calls: dict[str, list[tuple[Call, str | None]]] = {}
        self._carried = _member(_member(carried, "view"), "nodes")
        self.by_hand = by_hand | {
            node.id for node in spec.nodes if _member(_member(self._carried, node.id), "decision") == "skip"
        }
        """The nodes that somebody skipped, or will have skipped when it is their turn."""
        waits = {
            (node.type, wait_name(node)): node.id
            for node in reversed(spec.nodes)
            if node.type in {"timer", "wait", "approval"}
        }
        children = [node for node in spec.nodes if node.type == "workflow"]
        for call in calls:
            node_id: str | None = None
            index: str | None = None
            if call.kind == "step" and (match := _CALL_ID.fullmatch(call.name)):
                node_id, index = match["node"], match["index"]
            elif call.kind == "step" and call.outcome is None and (match := _TOOL_ID.fullmatch(call.name)):
                node_id, index = match["node"], match["index"]  # one that has ended says nothing of its node
            elif call.kind == "workflow" and not call.name.endswith(_UNDO):
                node_id, index = node_of_child(call, spec, children), call.name
            elif call.kind in {"timer", "wait", "approval"}:
                node_id = waits.get((call.kind, call.name))
            if (
                node_id is not None
                and node_id in spec.by_id
                and not call.name.startswith(COMPENSATION_PREFIX)
            ):
                self._calls.setdefault(node_id, []).append((call, index))

    def statuses(self) -> dict[str, NodeStatus]:
        found: dict[str, NodeStatus] = {}
        for node in self._spec.nodes:
            if calls := self._calls.get(node.id):
                found[node.id] = self._of_calls(node, calls)
            elif status := self._of_carried(node):
                found[node.id] = status
        return found

    def _of_calls(self, node: NodeSpec, calls: Sequence[tuple[Call, str | None]]) -> NodeStatus:
        # Of a node that was tried again, the last call of an item counts.
        last = list({index: call for call, index in calls}.values())
        counts = Counter(map(self._states.state, last))
        carried = _member(self._carried, node.id)
        done = _member(carried, "done")
        many = node.map is not None or node.loop is not None
        sizes = [self._items(call) if call.label == MAP_WORKFLOW else 1 for call in last]
        known = sum(size for size in sizes if size is not None) if None not in sizes else None
        count = max(known or 0, done if isinstance(done, int) else 0)
        state = worst(counts)
        if node.id in self.by_hand or (state is StepState.FAILED and node.when_exhausted != "fail"):
            state = StepState.SKIPPED
        if node.map is not None and node.map.on_error == "collect" and state is StepState.FAILED:
            state = StepState.COMPLETED if not set(counts) & _OPEN else worst(set(counts) & _OPEN)
        begins, ends = [call.started or call.scheduled for call in last], [call.closed for call in last]
        attempts = sum(self._states.attempts(call) for call, _ in calls)
        error = next((self._states.error(call) for call in last if call.failure is not None), "")
        return NodeStatus(
            state=state,
            count=count or None if many else None,
            detail=detail(counts, attempts, took(begins, ends), error),
        )

    def _items(self, part: Call) -> int | None:
        """How many items the child run of a part of a map has; None if they lie in storage."""
        items = self._opened.json(part.input[_MAP_ITEMS]) if len(part.input) > _MAP_ITEMS else None
        return items if isinstance(items, int) else len(items) if isinstance(items, list) else None

    def _of_carried(self, node: NodeSpec) -> NodeStatus | None:
        """How the node was when the run continued as new."""
        view = _member(self._carried, node.id)
        state = _member(view, "state")
        if not isinstance(state, str) or state not in _STATES:
            return None
        done, attempts = _member(view, "done"), _member(view, "attempts")
        many = node.map is not None or node.loop is not None
        times = [_time(_member(view, name)) for name in ("started", "closed")]
        return NodeStatus(
            state=StepState(state),
            count=done if many and isinstance(done, int) else None,
            detail=detail(
                {}, attempts if isinstance(attempts, int) and attempts > 1 else 0, took(times[:1], times[1:])
            ),
        )


_STATES: Final = frozenset(state.value for state in StepState)
_OPEN: Final = frozenset(state for state in StepState if not state.closed)


def wait_name(node: NodeSpec) -> str:
    """The name under which a node waits."""
    match node.type:
        case "timer":
            return node.title
        case "approval":
            return str(node.config.get("name", node.id))
        case _:
            return str(node.config.get("event"))


def node_of_child(call: Call, spec: DagSpec, children: Sequence[NodeSpec]) -> str | None:
    """A child run has its node in its id, unless the document gives it another; then its workflow tells."""
    for part in reversed(re.split(r"[/:.]", call.name)):
        match = _CALL_ID.fullmatch(part)
        if match and match["node"] in spec.by_id:
            return match["node"]
    same = [node.id for node in children if node.config.get("workflow") == call.label]
    return same[0] if len(same) == 1 else None


def _infer(
    spec: DagSpec,
    statuses: dict[str, NodeStatus],
    by_hand: frozenset[str],
    *,
    is_closed: bool,
    is_completed: bool,
) -> None:
    """The states of nodes that leave no event: choices, empty maps, and what was skipped."""
    graph = Graph.of(spec)
    reached = set(statuses)
    for node_id in reversed(graph.order):
        if reached & set(graph.dependents[node_id]):
            reached.add(node_id)
    for node_id in graph.order:
        if node_id in statuses:
            continue
        node, sources = spec.by_id[node_id], graph.dependencies[node_id]
        before = [statuses[source].state if source in statuses else None for source in sources]
        is_next = all(state is not None and state.closed for state in before)
        if node_id in by_hand and (is_next or is_completed or node_id in reached):
            statuses[node_id] = NodeStatus(state=StepState.SKIPPED)
            continue
        may_be_skipped = (
            node.when is not None
            or any(
                state is StepState.SKIPPED and source not in by_hand
                for source, state in zip(sources, before, strict=True)
            )
            or any(node_id in switch_targets(spec.by_id[source]) for source in sources)
        )
        if is_completed or node_id in reached:
            # A choice leaves no event either way: it was made unless all before it was skipped.
            chose = node.type == "switch" and not all(
                state is StepState.SKIPPED for state in before or [None]
            )
            state = StepState.SKIPPED if may_be_skipped and not chose else StepState.COMPLETED
            empty = state is StepState.COMPLETED and node.map is not None
            statuses[node_id] = NodeStatus(state=state, count=0 if empty else None)
        elif not is_closed:
            statuses[node_id] = NodeStatus(state=StepState.PENDING)


def _member(value: JsonValue, name: str) -> JsonValue:
    return value.get(name) if isinstance(value, Mapping) else None


def _time(value: JsonValue) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
