"""The events of one execution, folded into what they say of steps, timers, children and messages.

Nothing is decoded here, nothing reads a clock, and no event is required: a part of a history, one written by
another SDK, or one with events of the future gives as much as is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from holdfast.engine.compensation import UNDOABLE
from holdfast.engine.dag.nodes import NODE
from holdfast.engine.failures import is_limited
from holdfast.engine.given import REUSED_MEMO
from holdfast.engine.history.facts import (
    HOLD_SIGNAL,
    PAUSE_SIGNAL,
    RELEASE_SIGNAL,
    RESUME_SIGNAL,
    StepFacts,
    TaskFailure,
    Timeline,
    TimerFacts,
)
from holdfast.engine.history.local import LocalClock, LocalMarker, read_marker
from holdfast.engine.history.times import after, when
from holdfast.states import RunState, StepState


def read_events(
    events: Iterable[HistoryEvent], on_event: Callable[[HistoryEvent, Timeline], None] | None = None
) -> Timeline:
    """Fold events, in their order, into a timeline. Events of unknown kinds are passed over.

    Args:
        events: The events.
        on_event: Sees each event and what is known by then.
    """
    reader = _Reader()
    line, event = reader.line, None
    for event in events:
        line.event_count += 1
        handler = _HANDLERS.get(event.event_type)
        if handler is not None:
            handler(reader, event)
        if on_event is not None:
            on_event(event, line)
    if event is not None:
        line.latest = when(event.event_time)
        # The last event knows the number of events even if the first ones are missing.
        line.event_count = max(line.event_count, event.event_id)
    return line


class _Reader:
    def __init__(self) -> None:
        self.line = Timeline()
        self._by_event: dict[int, StepFacts] = {}
        self._waiting: dict[str, StepFacts] = {}
        """Those that wait for their turn under a limit, to be scheduled again."""
        self._local: dict[str, StepFacts] = {}
        self._clock = LocalClock()

    def started(self, event: HistoryEvent) -> None:
        start = event.workflow_execution_started_event_attributes
        self.line.start, self.line.started = start, when(event.event_time)
        self.line.memo.update(start.memo.fields)
        self.line.search_attributes.update(start.search_attributes.indexed_fields)

    def _end(self, event: HistoryEvent, state: RunState) -> None:
        self.line.end, self.line.closed = state, when(event.event_time)

    def completed(self, event: HistoryEvent) -> None:
        self._end(event, RunState.COMPLETED)
        self.line.result = _first(event.workflow_execution_completed_event_attributes.result)

    def failed(self, event: HistoryEvent) -> None:
        self._end(event, RunState.FAILED)
        self.line.failure = event.workflow_execution_failed_event_attributes.failure

    def timed_out(self, event: HistoryEvent) -> None:
        self._end(event, RunState.TIMED_OUT)

    def cancelled(self, event: HistoryEvent) -> None:
        self._end(event, RunState.CANCELLED)

    def terminated(self, event: HistoryEvent) -> None:
        self._end(event, RunState.TERMINATED)
        self.line.end_reason = event.workflow_execution_terminated_event_attributes.reason or None

    def continued(self, event: HistoryEvent) -> None:
        # The run goes on in another execution, so this one ended as well as it could.
        self._end(event, RunState.COMPLETED)
        self.line.continued = True

    def task_scheduled(self, _: HistoryEvent) -> None:
        self.line.open_task = True

    def task_started(self, event: HistoryEvent) -> None:
        self.line.open_task = True
        self._clock.task_started(when(event.event_time))

    def task_completed(self, event: HistoryEvent) -> None:
        self.line.completed_tasks += 1
        self.line.open_task, self.line.task_failure = False, None
        version = event.workflow_task_completed_event_attributes.deployment_version
        if version.build_id:
            self.line.build_id = version.build_id

    def task_failed(self, event: HistoryEvent) -> None:
        attempt = self.line.task_failure.attempt + 1 if self.line.task_failure else 1
        self.line.task_failure = TaskFailure(
            failed=event.workflow_task_failed_event_attributes, attempt=attempt, at=when(event.event_time)
        )
        self.line.open_task = False

    def task_timed_out(self, event: HistoryEvent) -> None:
        self.line.open_task = False
        if not event.workflow_task_timed_out_event_attributes.started_event_id:
            return  # Nobody took it from the sticky queue: the worker that had it is gone.
        attempt = self.line.task_failure.attempt + 1 if self.line.task_failure else 1
        self.line.task_failure = TaskFailure(attempt=attempt, at=when(event.event_time))

    def step_scheduled(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        if waiting := self._waiting.pop(scheduled.activity_id, None):
            self._by_event[event.event_id] = waiting
            return
        step = StepFacts(
            name=scheduled.activity_type.name.removeprefix(NODE),
            activity_id=scheduled.activity_id,
            queue=scheduled.task_queue.name,
            input=list(scheduled.input.payloads),
            summary=_summary(event),
            scheduled=when(event.event_time),
            undoable=UNDOABLE in scheduled.header.fields,
        )
        self.line.steps.append(step)
        self._by_event[event.event_id] = step

    def step_started(self, event: HistoryEvent) -> None:
        attributes = event.activity_task_started_event_attributes
        step = self._step(attributes.scheduled_event_id)
        if step is None:
            return
        step.started, step.attempt = when(event.event_time), max(attributes.attempt, 1)
        step.worker = attributes.identity or None
        if attributes.HasField("last_failure"):
            step.last_failure = attributes.last_failure

    def step_completed(self, event: HistoryEvent) -> None:
        attributes = event.activity_task_completed_event_attributes
        step = self._close(event, attributes.scheduled_event_id, StepState.COMPLETED)
        if step:
            step.result = _first(attributes.result)

    def step_failed(self, event: HistoryEvent) -> None:
        attributes = event.activity_task_failed_event_attributes
        if is_limited(attributes.failure):
            step = self._step(attributes.scheduled_event_id)
            if step:
                step.started = None
                self._waiting[step.activity_id] = step
            return
        step = self._close(event, attributes.scheduled_event_id, StepState.FAILED)
        if step:
            step.failure = attributes.failure

    def step_timed_out(self, event: HistoryEvent) -> None:
        attributes = event.activity_task_timed_out_event_attributes
        step = self._close(event, attributes.scheduled_event_id, StepState.FAILED)
        if step:
            step.failure = attributes.failure

    def step_cancelled(self, event: HistoryEvent) -> None:
        self._close(
            event, event.activity_task_canceled_event_attributes.scheduled_event_id, StepState.CANCELLED
        )

    def timer_started(self, event: HistoryEvent) -> None:
        started = event.timer_started_event_attributes
        self.line.timers[event.event_id] = TimerFacts(
            fires_at=after(event.event_time, started.start_to_fire_timeout), summary=_summary(event)
        )

    def timer_fired(self, event: HistoryEvent) -> None:
        self.line.timers.pop(event.timer_fired_event_attributes.started_event_id, None)

    def timer_cancelled(self, event: HistoryEvent) -> None:
        self.line.timers.pop(event.timer_canceled_event_attributes.started_event_id, None)

    def marker(self, event: HistoryEvent) -> None:
        marker = read_marker(event.marker_recorded_event_attributes)
        if marker is None:
            return
        local = self._local
        step = local.pop(marker.activity_id, None)
        if step is None:
            step = StepFacts(name=marker.name, activity_id=marker.activity_id, local=True)
            step.scheduled = marker.scheduled or when(event.event_time)
            self.line.steps.append(step)
        if marker.backoff is not None:
            local[marker.activity_id] = step  # The next marker of that id continues it.
        step.summary = _summary(event) or step.summary
        self._apply_marker(event, step, marker)

    def _apply_marker(self, event: HistoryEvent, step: StepFacts, marker: LocalMarker) -> None:
        duration = self._clock.duration(marker)
        recorded = when(event.event_time)
        step.started = (
            step.scheduled if marker.attempt == 1 or step.scheduled is None else recorded - duration
        )
        step.attempt = max(marker.attempt, 1)
        attributes = event.marker_recorded_event_attributes
        if marker.backoff is not None:
            step.last_failure = attributes.failure
            step.next_attempt_at = recorded + marker.backoff
            return
        step.closed = (step.started or recorded) + duration
        step.next_attempt_at = None
        if attributes.HasField("failure"):
            cancelled = attributes.failure.HasField("canceled_failure_info")
            step.outcome = StepState.CANCELLED if cancelled else StepState.FAILED
            step.failure = attributes.failure
        else:
            step.outcome = StepState.COMPLETED
            step.result = _first(attributes.details["result"]) if "result" in attributes.details else None

    def child_initiated(self, event: HistoryEvent) -> None:
        child = event.start_child_workflow_execution_initiated_event_attributes.workflow_id
        self.line.children[event.event_id] = self.line.open_children[event.event_id] = child

    def child_not_started(self, event: HistoryEvent) -> None:
        initiated = event.start_child_workflow_execution_failed_event_attributes.initiated_event_id
        self.line.open_children.pop(initiated, None)
        self.line.children.pop(initiated, None)

    def child_closed(self, event: HistoryEvent) -> None:
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        self.line.open_children.pop(attributes.initiated_event_id, None)

    def signal(self, event: HistoryEvent) -> None:
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == PAUSE_SIGNAL:
            self.line.paused, self.line.pause = True, _first(signal.input)
        elif signal.signal_name == RESUME_SIGNAL:
            self.line.paused, self.line.pause = False, None
            self.line.held, self.line.hold = False, None
        elif signal.signal_name == HOLD_SIGNAL:
            self.line.held, self.line.hold = True, _first(signal.input)
        elif signal.signal_name == RELEASE_SIGNAL:
            self.line.held, self.line.hold = False, None

    def memo_changed(self, event: HistoryEvent) -> None:
        changed = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        self.line.memo.update(changed)
        if REUSED_MEMO in changed:
            self.line.reused.append(changed[REUSED_MEMO])

    def search_attributes_changed(self, event: HistoryEvent) -> None:
        upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes
        self.line.search_attributes.update(upserted.indexed_fields)

    def cancel_requested(self, _: HistoryEvent) -> None:
        self.line.cancel_requested = True

    def server_paused(self, event: HistoryEvent) -> None:
        paused = event.workflow_execution_paused_event_attributes
        self.line.paused_by_server = (paused.identity, paused.reason)

    def server_unpaused(self, _: HistoryEvent) -> None:
        self.line.paused_by_server = None

    def _step(self, scheduled_event_id: int) -> StepFacts | None:
        return self._by_event.get(scheduled_event_id)

    def _close(self, event: HistoryEvent, scheduled_event_id: int, outcome: StepState) -> StepFacts | None:
        step = self._step(scheduled_event_id)
        if step is not None:
            step.outcome, step.closed = outcome, when(event.event_time)
        return step


def _first(payloads: Payloads) -> Payload | None:
    return payloads.payloads[0] if payloads.payloads else None


def _summary(event: HistoryEvent) -> Payload | None:
    return event.user_metadata.summary if event.HasField("user_metadata") else None


_HANDLERS: dict[int, Callable[[_Reader, HistoryEvent], None]] = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: _Reader.started,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: _Reader.completed,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: _Reader.failed,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: _Reader.timed_out,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: _Reader.cancelled,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: _Reader.terminated,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: _Reader.continued,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: _Reader.cancel_requested,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: _Reader.signal,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED: _Reader.server_paused,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED: _Reader.server_unpaused,
    EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED: _Reader.memo_changed,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _Reader.search_attributes_changed,
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: _Reader.task_scheduled,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED: _Reader.task_started,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: _Reader.task_completed,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED: _Reader.task_failed,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: _Reader.task_timed_out,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: _Reader.step_scheduled,
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED: _Reader.step_started,
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: _Reader.step_completed,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: _Reader.step_failed,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: _Reader.step_timed_out,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: _Reader.step_cancelled,
    EventType.EVENT_TYPE_TIMER_STARTED: _Reader.timer_started,
    EventType.EVENT_TYPE_TIMER_FIRED: _Reader.timer_fired,
    EventType.EVENT_TYPE_TIMER_CANCELED: _Reader.timer_cancelled,
    EventType.EVENT_TYPE_MARKER_RECORDED: _Reader.marker,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: _Reader.child_initiated,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: _Reader.child_not_started,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: _Reader.child_closed,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: _Reader.child_closed,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: _Reader.child_closed,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: _Reader.child_closed,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: _Reader.child_closed,
}
