"""Reads the events of a history into calls and turns."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ContinueAsNewInitiator, EventType
from temporalio.api.history.v1 import HistoryEvent

from holdfast.engine.dag.nodes import NODE
from holdfast.engine.failures import is_limited
from holdfast.engine.history.build import WAITS_MEMO
from holdfast.engine.history.calls import Call, Calls, Kind, Turn
from holdfast.engine.history.facts import INTERNAL_PREFIXES
from holdfast.engine.history.local import LocalClock, LocalMarker, read_marker
from holdfast.engine.history.payloads import Opened
from holdfast.engine.history.times import when
from holdfast.states import StepState


def read_calls(events: Iterable[HistoryEvent], opened: Opened) -> Calls:
    """Read the events of one execution, or of a chain of executions one after the other."""
    reader = _Reader(opened)
    for event in events:
        handler = _HANDLERS.get(event.event_type)
        if handler is not None:
            handler(reader, event)
    reader.found.turns = [turn for task in reader.tasks for turn in task.all_turns()]
    return reader.found


class _Task:
    """One workflow task: its turns, of which each but the first begins with the end of a local activity or a wait."""

    def __init__(self, ended: list[Call], messages: list[Call], begun: list[Call]) -> None:
        self.turns = [Turn(ended=ended, messages=messages, begun=begun)]
        self._early = Turn(is_early=True)
        self._ends: list[datetime] = []
        """When each turn but the first began, by the worker's clock; only local activities tell."""

    def all_turns(self) -> list[Turn]:
        return [self._early, *self.turns] if self._early.called else self.turns

    def call(self, call: Call) -> None:
        self.turns[-1].called.append(call)

    def call_local(self, call: Call, task_started: datetime | None) -> None:
        """The marker comes at the end of a local activity: its place is where it was scheduled."""
        at = call.scheduled
        if at is None:
            self.call(call)
        elif self.turns[0].ended and task_started is not None and at < task_started:
            self._early.called.append(call)
        else:
            self.turns[bisect.bisect_right(self._ends, at)].called.append(call)

    def end(self, call: Call, at: datetime | None = None) -> None:
        """Begin the turn that follows from an end inside of the task."""
        last = self._ends[-1] if self._ends else datetime.min.replace(tzinfo=UTC)
        self._ends.append(max(at or last, last))
        self.turns.append(Turn(ended=[call]))


class _Reader:
    def __init__(self, opened: Opened) -> None:
        self.found = Calls()
        self._opened = opened
        self._task = _Task([], [], [])
        self.tasks = [self._task]
        self._begin_execution()

    def _begin_execution(self) -> None:
        self._by_event: dict[int, Call] = {}
        self._local: dict[str, Call] = {}
        self._backoffs: list[timedelta] = []
        self._waits: dict[tuple[str, str, str], Call] = {}
        self._ended: list[Call] = []
        self._messages: list[Call] = []
        self._updates: dict[int, Call] = {}
        self._begun: list[Call] = []
        self._clock = LocalClock()
        self._task_started: datetime | None = None

    def _new(
        self, kind: Kind, label: str, event: HistoryEvent, *, name: str = "", hidden: bool = False
    ) -> Call:
        return Call(
            kind=kind,
            label=label,
            name=name,
            hidden=hidden or label.startswith(INTERNAL_PREFIXES),
            scheduled=when(event.event_time),
            event_id=event.event_id,
            execution=max(len(self.found.begins) - 1, 0),
        )

    # Executions and tasks

    def started(self, event: HistoryEvent) -> None:
        start = event.workflow_execution_started_event_attributes
        self._begin_execution()
        self.found.workflow, self.found.is_closed = start.workflow_type.name, False
        self.found.inputs += start.input.payloads
        self.found.begins.append(_BEGINS.get(start.initiator, "") if self.found.begins else "")

    def over(self, event: HistoryEvent) -> None:
        self.found.is_closed = True
        self.found.is_completed = event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
        self._task.turns[-1].is_last = True
        for call in (*self._by_event.values(), *self._waits.values(), *self._local.values()):
            call.is_over = call.outcome is None

    def task_started(self, event: HistoryEvent) -> None:
        self._task_started = when(event.event_time)
        self._clock.task_started(self._task_started)

    def task_completed(self, _: HistoryEvent) -> None:
        self._task = _Task(self._ended, self._messages, self._begun)
        self._ended, self._messages, self._begun = [], [], []
        self.tasks.append(self._task)

    # Activities, timers, children

    def _opened_by(self, event: HistoryEvent, call: Call) -> None:
        self._by_event[event.event_id] = call
        self._task.call(call)

    def step(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        label = scheduled.activity_type.name.removeprefix(NODE)
        call = self._new("step", label, event, name=scheduled.activity_id)
        call.input = scheduled.input.payloads
        self._opened_by(event, call)

    def step_started(self, event: HistoryEvent) -> None:
        attributes = event.activity_task_started_event_attributes
        call = self._by_event.get(attributes.scheduled_event_id)
        if call is not None:
            call.started, call.attempt = when(event.event_time), max(attributes.attempt, 1)

    def timer(self, event: HistoryEvent) -> None:
        started = event.timer_started_event_attributes
        # Times beyond what Python can hold are as good as never.
        seconds = (
            min(started.start_to_fire_timeout.seconds, 10**10) + started.start_to_fire_timeout.nanos / 1e9
        )
        summary = self._opened.text(event.user_metadata.summary) if event.HasField("user_metadata") else None
        guards = summary in {f"{wait.kind} {wait.name}" for wait in self._waits.values()}
        backoff = timedelta(seconds=seconds)
        if backoff in self._backoffs:  # it is part of a local activity that is tried again
            self._backoffs.remove(backoff)
            guards = True
        named = summary if summary and summary != "sleep" else f"sleep {_seconds(seconds)}"
        self._opened_by(event, self._new("timer", named, event, name=summary or "", hidden=guards))

    def child(self, event: HistoryEvent) -> None:
        child = event.start_child_workflow_execution_initiated_event_attributes
        call = self._new("workflow", child.workflow_type.name, event, name=child.workflow_id)
        call.input = child.input.payloads
        self._opened_by(event, call)

    def nexus(self, event: HistoryEvent) -> None:
        nexus = event.nexus_operation_scheduled_event_attributes
        call = self._new("nexus", f"{nexus.service}.{nexus.operation}", event)
        call.input = [nexus.input]
        self._opened_by(event, call)

    def child_started(self, event: HistoryEvent) -> None:
        initiated = event.child_workflow_execution_started_event_attributes.initiated_event_id
        call = self._by_event.get(initiated)
        if call is not None:
            call.started = when(event.event_time)
            self._begun.append(call)

    def ended(self, event: HistoryEvent) -> None:
        field_name, state = _ENDS[event.event_type]
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        call = self._by_event.get(getattr(attributes, field_name))
        if call is None:
            return
        call.outcome, call.closed, call.end_event_id = state, when(event.event_time), event.event_id
        if state is StepState.COMPLETED and call.kind != "timer":
            call.result = [attributes.result] if call.kind == "nexus" else attributes.result.payloads
        elif state is StepState.FAILED and "failure" in attributes.DESCRIPTOR.fields_by_name:
            if is_limited(attributes.failure):
                call.outcome = StepState.WAITING  # for its turn, and then scheduled again
            else:
                call.failure = attributes.failure
        # A timer that workflow code cancels tells it nothing.
        if event.event_type != EventType.EVENT_TYPE_TIMER_CANCELED:
            self._ended.append(call)

    # Local activities

    def marker(self, event: HistoryEvent) -> None:
        attributes = event.marker_recorded_event_attributes
        marker = read_marker(attributes)
        if marker is None:
            return
        took = self._clock.duration(marker)
        call = self._local.pop(marker.activity_id, None)
        if call is None:
            call = self._new("step", marker.name, event, name=marker.activity_id)
            call.scheduled = marker.scheduled or call.scheduled
            self._task.call_local(call, self._task_started)
        call.attempt = max(marker.attempt, 1)
        if marker.backoff is not None:
            self._local[marker.activity_id] = call
            self._backoffs.append(marker.backoff)
            return
        self._end_local(call, event, marker, took)

    def _end_local(self, call: Call, event: HistoryEvent, marker: LocalMarker, took: timedelta) -> None:
        attributes = event.marker_recorded_event_attributes
        call.outcome = StepState.COMPLETED
        if attributes.HasField("failure"):
            cancelled = attributes.failure.HasField("canceled_failure_info")
            call.outcome = StepState.CANCELLED if cancelled else StepState.FAILED
            call.failure = attributes.failure
        if "result" in attributes.details:
            call.result = attributes.details["result"].payloads
        recorded = when(event.event_time)
        call.started = call.scheduled if marker.attempt <= 1 else recorded - took
        call.closed = (call.started or recorded) + took
        self._task.end(call, call.closed)

    # Messages and waits

    def signal(self, event: HistoryEvent) -> None:
        signal = event.workflow_execution_signaled_event_attributes
        self._message(self._messages, event, signal.signal_name, signal.input.payloads)

    def update(self, event: HistoryEvent) -> None:
        asked = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
        call = self._message(self._task.turns[0].messages, event, asked.name, asked.args.payloads)
        self._updates[event.event_id] = call
        self.found.updates.append(call)

    def update_ended(self, event: HistoryEvent) -> None:
        ended = event.workflow_execution_update_completed_event_attributes
        call = self._updates.pop(ended.accepted_event_id, None)
        if call is not None and ended.outcome.HasField("failure"):
            self.found.updates.remove(call)

    def _message(
        self, messages: list[Call], event: HistoryEvent, name: str, payloads: Sequence[Payload]
    ) -> Call:
        call = self._new("wait", name, event, name=name)
        # Since when the run waited, nobody says.
        call.result, call.outcome, call.scheduled = payloads, StepState.COMPLETED, None
        if not call.hidden:
            messages.append(call)
        return call

    def memo(self, event: HistoryEvent) -> None:
        """Runs of Holdfast write down what they wait for."""
        memo = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        if WAITS_MEMO not in memo:
            return
        value = self._opened.json(memo[WAITS_MEMO])
        listed = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
        waits = {_wait_key(item): item for item in listed}
        for key in [key for key in self._waits if key not in waits]:
            self._end_wait(self._waits.pop(key), event)
        for key, item in waits.items():
            if key not in self._waits:
                kind, name, _ = key
                prompt = item.get("prompt")
                label = prompt if isinstance(prompt, str) and prompt else name
                call = self._new("approval" if kind == "approval" else "wait", label, event, name=name)
                self._waits[key] = call
                self._task.call(call)

    def _end_wait(self, call: Call, event: HistoryEvent) -> None:
        first = self._task.turns[0]
        expired = any(end.kind == "timer" and end.name == f"{call.kind} {call.name}" for end in first.ended)
        call.outcome = StepState.FAILED if expired else StepState.COMPLETED
        call.closed, call.end_event_id = when(event.event_time), event.event_id
        taken = next((message for message in first.messages if message.name == call.name), None)
        if taken is not None:
            first.messages.remove(taken)
            call.result = taken.result
        self._task.end(call)


def _wait_key(item: Mapping[str, object]) -> tuple[str, str, str]:
    return str(item.get("kind")), str(item.get("name")), str(item.get("since"))


def _seconds(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


_BEGINS: Final[Mapping[int, str]] = {
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW: "continued as new",
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY: "retried",
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE: "next by schedule",
}

_ENDS: Final[Mapping[int, tuple[str, StepState]]] = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: ("scheduled_event_id", StepState.COMPLETED),
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: ("scheduled_event_id", StepState.FAILED),
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: ("scheduled_event_id", StepState.FAILED),
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: ("scheduled_event_id", StepState.CANCELLED),
    EventType.EVENT_TYPE_TIMER_FIRED: ("started_event_id", StepState.COMPLETED),
    EventType.EVENT_TYPE_TIMER_CANCELED: ("started_event_id", StepState.CANCELLED),
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: ("initiated_event_id", StepState.FAILED),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: ("initiated_event_id", StepState.COMPLETED),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: ("initiated_event_id", StepState.FAILED),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: ("initiated_event_id", StepState.FAILED),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: ("initiated_event_id", StepState.FAILED),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: ("initiated_event_id", StepState.CANCELLED),
    EventType.EVENT_TYPE_NEXUS_OPERATION_COMPLETED: ("scheduled_event_id", StepState.COMPLETED),
    EventType.EVENT_TYPE_NEXUS_OPERATION_FAILED: ("scheduled_event_id", StepState.FAILED),
    EventType.EVENT_TYPE_NEXUS_OPERATION_TIMED_OUT: ("scheduled_event_id", StepState.FAILED),
    EventType.EVENT_TYPE_NEXUS_OPERATION_CANCELED: ("scheduled_event_id", StepState.CANCELLED),
}
"""What ends a call: which field names the event that began it, and how it ended."""

_HANDLERS: Final[dict[int, Callable[[_Reader, HistoryEvent], None]]] = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: _Reader.started,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: _Reader.over,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: _Reader.over,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: _Reader.over,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: _Reader.over,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: _Reader.over,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: _Reader.over,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED: _Reader.task_started,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: _Reader.task_completed,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: _Reader.step,
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED: _Reader.step_started,
    EventType.EVENT_TYPE_TIMER_STARTED: _Reader.timer,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: _Reader.child,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED: _Reader.child_started,
    EventType.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED: _Reader.nexus,
    EventType.EVENT_TYPE_MARKER_RECORDED: _Reader.marker,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _Reader.signal,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: _Reader.update,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED: _Reader.update_ended,
    EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED: _Reader.memo,
    **dict.fromkeys(_ENDS, _Reader.ended),
}
