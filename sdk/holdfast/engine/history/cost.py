"""What a run took from Temporal, counted from its events. Pure.

Actions follow the list of billable actions that Temporal publishes for its cloud (`holdfast.client.cost.RULES`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from holdfast.client.cost import LargePayload, LocalCandidate, RunCost, StepUsage
from holdfast.client.description import RunDescription
from holdfast.engine.history.facts import StepFacts, Timeline
from holdfast.engine.history.local import read_marker
from holdfast.engine.history.payloads import Opened, is_stored_elsewhere
from holdfast.engine.history.timeline import read_events
from holdfast.engine.history.usage import reported_usage
from holdfast.states import StepState

_LARGEST: Final = 5
_SHORT: Final = timedelta(seconds=1)
_VERSIONS: Final = "TemporalChangeVersion"


def count_cost(
    executions: Sequence[Sequence[HistoryEvent]],
    opened: Opened,
    *,
    description: RunDescription,
    compensable: Collection[str] = (),
    is_cut: bool = False,
) -> RunCost:
    """Count what a run took.

    Args:
        executions: The histories of its executions, in their order.
        opened: The payloads that a codec had to open.
        description: The run's, for attempts that no event tells of yet.
        compensable: Names of steps that are known to have a compensation.
        is_cut: Whether executions before these are gone.
    """
    lines = [read_events(events) for events in executions]
    # An attempt that is under way is in no event; what the server says of it stands in the description.
    pending = sum(
        step.attempt for step in description.steps if _is_under_way(step.started, step.closed, step.local)
    )
    attempts = pending + sum(_attempts(events) for events in executions)
    actions: Counter[str] = Counter()
    for events in executions:
        actions.update(_actions(events))
    actions["steps"] += attempts
    usage = _usage(lines, opened)
    children = [child for line in lines for child in line.children.values()]
    return RunCost(
        run_id=description.id,
        workflow=description.workflow,
        execution_count=len(executions),
        event_count=sum(map(len, executions)),
        history_bytes=sum(event.ByteSize() for events in executions for event in events),
        workflow_tasks=sum(line.completed_tasks for line in lines),
        step_attempts=attempts,
        actions={name: count for name, count in actions.items() if count},
        local=_local(lines, description.queue, compensable),
        largest=_largest(executions),
        usage=usage,
        tokens=sum(step.tokens for step in usage),
        cost_usd=sum(step.cost_usd for step in usage),
        children=children,
        is_cut=is_cut,
    )


def _is_under_way(started: object, closed: object, local: bool) -> bool:
    return started is not None and closed is None and not local


def _attempts(events: Sequence[HistoryEvent]) -> int:
    return sum(
        max(event.activity_task_started_event_attributes.attempt, 1)
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    )


def _actions(events: Sequence[HistoryEvent]) -> Counter[str]:
    """Actions but for those of steps."""
    found: Counter[str] = Counter()
    marked: set[int] = set()
    for event in events:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                start = event.workflow_execution_started_event_attributes
                # Of a child the run that starts it has the action, unless it goes on by itself.
                is_child = (
                    start.HasField("parent_workflow_execution") and not start.continued_execution_run_id
                )
                found["starts"] += 0 if is_child else 1
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                signal = event.workflow_execution_signaled_event_attributes
                # One from another run is an action of that run.
                found["messages"] += 0 if signal.HasField("external_workflow_execution") else 1
            case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes
                found["search attributes"] += set(upserted.indexed_fields) != {_VERSIONS}
            case EventType.EVENT_TYPE_MARKER_RECORDED:
                marked.add(event.marker_recorded_event_attributes.workflow_task_completed_event_id)
            case kind if kind in _ACTIONS:
                name, count = _ACTIONS[kind]
                found[name] += count
            case _:
                pass
    # All that one workflow task records of local steps and patches is one action.
    found["local steps and patches"] = len(marked)
    return found


_ACTIONS: Final[Mapping[int, tuple[str, int]]] = {
    EventType.EVENT_TYPE_TIMER_STARTED: ("timers", 1),
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: ("messages", 1),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: ("messages", 1),
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: ("child runs", 2),
    EventType.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED: ("nexus operations", 1),
    EventType.EVENT_TYPE_NEXUS_OPERATION_CANCEL_REQUESTED: ("nexus operations", 1),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED: ("options", 1),
}


def _local(lines: Sequence[Timeline], queue: str, compensable: Collection[str]) -> list[LocalCandidate]:
    calls: dict[str, list[StepFacts]] = {}
    undone = {step.compensates for line in lines for step in line.steps if step.compensates}
    for line in lines:
        for step in line.steps:
            if not step.internal:
                calls.setdefault(step.name, []).append(step)
    found: list[LocalCandidate] = []
    for name, steps in calls.items():
        took = [_could_be_local(step, queue, undone) for step in steps]
        longest = max((one for one in took if one is not None), default=None)
        if name in compensable or longest is None or None in took:
            continue
        count = len(steps)
        # Three events of the activity and three of the workflow task after it become one marker.
        found.append(
            LocalCandidate(
                step=name,
                call_count=count,
                longest=longest,
                saves_events=5 * count,
                saves_actions=count - 1,
                saves_round_trips=2 * count,
            )
        )
    return sorted(found, key=lambda one: -one.call_count)


def _could_be_local(step: StepFacts, queue: str, undone: Collection[str]) -> timedelta | None:
    """How long it took; None if it would better stay as it is."""
    if (
        step.local
        or step.outcome is not StepState.COMPLETED
        or step.attempt > 1
        or step.compensates
        or step.activity_id in undone
        or step.queue != queue
        or step.started is None
        or step.closed is None
    ):
        return None
    took = step.closed - step.started
    return took if took < _SHORT else None


def _usage(lines: Sequence[Timeline], opened: Opened) -> list[StepUsage]:
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for step in line.steps:
            used = reported_usage(step, opened)
            if any(used):
                found.setdefault(step.name, []).append(used)
    return [
        StepUsage(
            step=name,
            call_count=len(calls),
            tokens=round(sum(tokens for tokens, _ in calls)),
            cost_usd=sum(cost for _, cost in calls),
        )
        for name, calls in found.items()
    ]


def _largest(executions: Sequence[Sequence[HistoryEvent]]) -> list[LargePayload]:
    found = [payload for number, events in enumerate(executions) for payload in _payloads(events, number)]
    return sorted(found, key=lambda payload: -payload.size_bytes)[:_LARGEST]


def _payloads(events: Sequence[HistoryEvent], execution: int) -> Iterator[LargePayload]:
    names: dict[int, str] = {}
    for event in events:
        attributes = getattr(event, event.WhichOneof("attributes") or "", None)
        if attributes is None:
            continue
        fields = attributes.DESCRIPTOR.fields_by_name
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            names[event.event_id] = attributes.activity_id
        begun = names.get(getattr(attributes, "scheduled_event_id", 0)) or names.get(event.event_id)
        what = begun or _NAMES.get(event.event_type, "the run")
        marker = read_marker(attributes) if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED else None
        held: list[tuple[str, Payloads]] = []
        if marker is not None:
            held = [("result", attributes.details["result"])] if "result" in attributes.details else []
            what = marker.activity_id
        else:
            held = [
                (name, getattr(attributes, name))
                for name in ("input", "result")
                if name in fields and isinstance(getattr(attributes, name), Payloads)
            ]
        for name, payloads in held:
            for payload in payloads.payloads:
                yield LargePayload(
                    what=f"{name} of {what}",
                    execution=execution,
                    event_id=event.event_id,
                    size_bytes=_size(payload),
                    in_storage=is_stored_elsewhere(payload),
                )


def _size(payload: Payload) -> int:
    return Opened().preview(payload, 0).size_bytes if is_stored_elsewhere(payload) else len(payload.data)


_NAMES: Final[Mapping[int, str]] = {
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: "a child run",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: "a child run",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: "a message",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "the next execution",
}
