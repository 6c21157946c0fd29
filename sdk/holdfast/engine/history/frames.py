"""A recorded run as a row of moments. Pure: no clock, no server; the same states as `build_description` in the end.

A history is written when something ends, so the start of a step stands behind what happened while it ran. Frames go by
time: starts are where they were, all else is in the order of the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from holdfast.client.description import RunDescription
from holdfast.client.frames import Frame, FrameChange, FrameItem, Frames
from holdfast.engine.history.boxes import Boxes
from holdfast.engine.history.build import COMPENSATING_MEMO
from holdfast.engine.history.facts import (
    HOLD_SIGNAL,
    INTERNAL_PREFIXES,
    PAUSE_SIGNAL,
    RELEASE_SIGNAL,
    RESUME_SIGNAL,
    StepFacts,
    Timeline,
)
from holdfast.engine.history.frame_moments import TEXT_CHARS, Moment, moments_of_calls
from holdfast.engine.history.frame_row import merged, with_silent_boxes
from holdfast.engine.history.payloads import Opened
from holdfast.engine.history.run_state import run_state
from holdfast.engine.history.text import shortened
from holdfast.engine.history.timeline import read_events
from holdfast.engine.history.times import when
from holdfast.spec.diagram.graph import DiagramGraph
from holdfast.states import RunState, StepState

MAX_FRAMES: Final = 2000
"""More moments than these are merged, neighbours with each other."""


def build_frames(
    executions: Sequence[Sequence[HistoryEvent]],
    opened: Opened | None = None,
    *,
    description: RunDescription | None = None,
    boxes: Boxes | None = None,
    graph: DiagramGraph | None = None,
    is_cut: bool = False,
    max_frames: int = MAX_FRAMES,
) -> Frames:
    """Make the frames of a run.

    Args:
        executions: The histories of its executions, in their order.
        opened: The payloads that a codec had to open.
        description: What the server says of an open run: it is the last frame, which tells of attempts that no event
            tells of yet.
        boxes: Which box of the picture each call belongs to.
        graph: The picture, for boxes that no event tells of.
        is_cut: Whether executions before these are gone.
        max_frames: Beyond it, neighbours are merged.
    """
    items: list[FrameItem] = []
    moments: list[Moment] = []
    boxes = boxes or Boxes()
    for number, events in enumerate(executions):
        reader = _Execution(number, opened or Opened(), boxes, items, is_last=number == len(executions) - 1)
        reader.read(events)
        moments += reader.moments
    moments += moments_of_calls(boxes, items)
    moments.sort(key=lambda moment: (moment.execution, moment.at, moment.event_id))
    if description is not None and moments:
        _add_reused(moments, description, items, len(executions) - 1)
    if description is not None and not description.state.closed and moments:
        moments.append(_now(moments[-1], description, items, len(executions) - 1))
    frames = _frames(moments)
    if graph is not None and frames:
        frames = with_silent_boxes(frames, items, graph)
    first = executions[0][0] if executions and executions[0] else HistoryEvent()
    start = first.workflow_execution_started_event_attributes
    return Frames(
        run_id=description.id if description is not None else start.workflow_id,
        workflow=description.workflow if description is not None else start.workflow_type.name,
        items=items,
        frames=merged(frames, max_frames),
        event_count=sum(map(len, executions)),
        execution_count=len(executions),
        is_cut=is_cut,
    )


class _Execution:
    """One execution: what each event changes."""

    def __init__(
        self, number: int, opened: Opened, boxes: Boxes, items: list[FrameItem], *, is_last: bool
    ) -> None:
        self.number, self.opened, self.boxes, self.items, self.is_last = number, opened, boxes, items, is_last
        self.moments: list[Moment] = []
        self._seen_count = 0
        self._open: dict[int, StepFacts] = {}
        """Open steps of the user's, by the position of their item."""
        self._open_all: list[StepFacts] = []
        self._shown: dict[int, tuple[StepState, int]] = {}
        self._by_id: dict[str, int] = {}
        self._calls: Counter[str] = Counter()
        self._states: list[tuple[HistoryEvent, RunState]] = []
        self._at: datetime | None = None

    def read(self, events: Sequence[HistoryEvent]) -> None:
        read_events(events, self._see)
        self._settle()

    def _see(self, event: HistoryEvent, line: Timeline) -> None:
        at = when(event.event_time)
        is_start = event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
        if not is_start:
            at = self._at = max(at, self._at or at)
        while self._seen_count < len(line.steps):
            self._begin(line.steps[self._seen_count])
            self._seen_count += 1
        if event.event_type in _STEP_EVENTS:
            self._look_at_steps(event, at)
        elif (told := self._told(event)) is not None:
            self._add(event, at, *told)
        if line.end is not None:
            self._end(event, at, line)
        self._states.append((event, self._state(line)))

    def _begin(self, step: StepFacts) -> None:
        self._open_all.append(step)
        if step.internal:
            return
        self._calls[step.name] += 1
        self._by_id[step.activity_id] = position = len(self.items)
        self._open[position] = step
        self.items.append(
            FrameItem(
                kind="step",
                name=step.name,
                ordinal=self._calls[step.name],
                id=step.activity_id,
                execution=self.number,
                node=self.boxes.steps.get((self.number, step.activity_id)),
                compensates=step.compensates,
                local=step.local,
            )
        )

    def _look_at_steps(self, event: HistoryEvent, at: datetime) -> None:
        self._open_all = [step for step in self._open_all if step.outcome is None]
        for position, step in list(self._open.items()):
            state = _step_state(step)
            if (state, step.attempt) == self._shown.get(position):
                continue
            if step.local and step.started is not None:
                # Its marker is written at its end; when it began, its worker's clock says.
                self._add(
                    event,
                    min(step.started, at),
                    "step.started",
                    f"{step.name} begins",
                    FrameChange(item=position, state=StepState.RUNNING, attempt=step.attempt),
                )
            change = FrameChange(item=position, state=state, attempt=step.attempt)
            when_ = min(step.closed, at) if step.local and step.closed is not None else at
            moment = self._add(
                event, when_, f"step.{_WORDS.get(state, state.value)}", self._text(step, state), change
            )
            self._shown[position] = state, step.attempt
            if state.closed:
                del self._open[position]
                self._compensated(step, moment)

    def _compensated(self, step: StepFacts, moment: Moment) -> None:
        undone = self._by_id.get(step.compensates) if step.compensates else None
        if undone is not None and step.outcome is StepState.COMPLETED:
            attempt = self._shown[undone][1] if undone in self._shown else 1
            moment.kind = "step.compensated"
            moment.changes.append(FrameChange(item=undone, state=StepState.COMPENSATED, attempt=attempt))

    def _end(self, event: HistoryEvent, at: datetime, line: Timeline) -> None:
        dropped = [
            FrameChange(item=position, state=StepState.CANCELLED, attempt=step.attempt)
            for position, step in self._open.items()
        ]
        self._open.clear()
        if line.continued:
            self._add(event, at, "run.continued", "the run continues as new", *dropped)
            return
        state = self._state(line)
        why = f": {self.opened.error(line.failure)}" if line.failure is not None else ""
        self._add(event, at, f"run.{state.value}", f"the run {state.value.replace('_', ' ')}{why}", *dropped)

    def _state(self, line: Timeline) -> RunState:
        if line.continued and not self.is_last:
            return RunState.RUNNING
        noted = self.opened.json(line.memo.get(COMPENSATING_MEMO)) is True
        return run_state(
            line,
            self.opened,
            is_compensating=noted or any(step.compensates for step in self._open_all),
            has_open_steps=bool(self._open_all),
        )

    def _told(self, event: HistoryEvent) -> tuple[str, str] | None:
        """What an event says that changes no step."""
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                return ("run.started", "the run starts") if not self.number else ("run.went_on", "it goes on")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                name = event.workflow_execution_signaled_event_attributes.signal_name
                if name in _SIGNALS:
                    return _SIGNALS[name]
                return (
                    None if name.startswith(INTERNAL_PREFIXES) else ("message", f"message {name!r} arrives")
                )
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                asked = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
                return "message", f"message {asked.name!r} arrives"
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
                return "run.cancel_requested", "somebody asks it to stop"
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failure = event.workflow_task_failed_event_attributes.failure
                return "run.task_failed", f"its code fails: {self.opened.error(failure)}"
            case _:
                return None

    def _text(self, step: StepFacts, state: StepState) -> str:
        if state is StepState.RUNNING and step.attempt > 1 and step.last_failure is not None:
            return f"{step.name} begins attempt {step.attempt} after {self.opened.error(step.last_failure)}"
        failure = step.failure or (step.last_failure if state is StepState.RETRYING else None)
        why = f": {self.opened.error(failure)}" if failure is not None else ""
        undoes = f" {step.compensates}" if step.compensates else ""
        return f"{step.name}{undoes} {_SAID.get(state, state.value)}{why}"

    def _add(self, event: HistoryEvent, at: datetime, kind: str, text: str, *changes: FrameChange) -> Moment:
        moment = Moment(
            at=at,
            execution=self.number,
            event_id=event.event_id,
            kind=kind,
            text=shortened(text, TEXT_CHARS),
            changes=list(changes),
        )
        self.moments.append(moment)
        return moment

    def _settle(self) -> None:
        """The run's state at each event: that at the end of what was written with it, since a step that ends and the
        task that follows from it are two events and one moment."""
        settled: dict[int, RunState] = {}
        after: RunState | None = None
        for event, state in reversed(self._states):
            settled[event.event_id] = state if after is None else after
            after = settled[event.event_id] if _follows(event) and not state.closed else None
        told = {moment.event_id: moment for moment in self.moments if moment.kind != "step.started"}
        before: RunState | None = None
        for event, _ in self._states:
            state = settled[event.event_id]
            if event.event_id in told:
                told[event.event_id].state = state
            elif before is not None and state is not before:
                self._add(
                    event, when(event.event_time), "run.state", f"the run is {state.value}"
                ).state = state
            before = state


def _step_state(step: StepFacts) -> StepState:
    if step.outcome is not None:
        return step.outcome
    if step.local:
        return StepState.RETRYING
    return StepState.RUNNING if step.started else StepState.PENDING


def _follows(event: HistoryEvent) -> bool:
    """Whether an event is written together with the one before it."""
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
        return True
    attributes = getattr(event, event.WhichOneof("attributes") or "", None)
    return (
        attributes is not None and "workflow_task_completed_event_id" in attributes.DESCRIPTOR.fields_by_name
    )


def _add_reused(
    moments: Sequence[Moment], run: RunDescription, items: list[FrameItem], execution: int
) -> None:
    """The steps that a retried or forked run was given: done from its first moment on."""
    first = next((moment for moment in moments if moment.execution == execution), moments[0])
    for step in run.steps:
        if step.reused_from is None:
            continue
        done = FrameChange(item=len(items), state=StepState.COMPLETED)
        first.changes.append(done)
        if step.state is not StepState.COMPLETED:
            moments[-1].changes.append(replace(done, state=step.state))
        items.append(
            FrameItem(
                kind="step",
                name=step.name,
                ordinal=step.ordinal,
                id=step.activity_id,
                execution=execution,
            )
        )


def _now(last: Moment, run: RunDescription, items: Sequence[FrameItem], execution: int) -> Moment:
    at = last.at
    if run.started is not None and run.duration is not None:
        at = max(at, run.started + run.duration)
    known = {step.activity_id: step for step in run.steps}
    changes = [
        FrameChange(item=position, state=known[item.id].state, attempt=known[item.id].attempt)
        for position, item in enumerate(items)
        if item.kind == "step"
        and item.execution == execution
        and item.id in known
        and not known[item.id].state.closed
    ]
    text = run.stuck or (
        f"the run waits for {run.waiting_for}" if run.waiting_for else f"the run is {run.state.value}"
    )
    return Moment(
        at=at,
        execution=execution,
        event_id=last.event_id,
        kind="now",
        text=shortened(text, TEXT_CHARS),
        changes=changes,
        state=run.state,
    )


def _frames(moments: Sequence[Moment]) -> list[Frame]:
    state, frames = RunState.PENDING, list[Frame]()
    for moment in moments:
        state = moment.state or state
        frames.append(
            Frame(
                event_id=moment.event_id,
                execution=moment.execution,
                kind=moment.kind,
                at=moment.at,
                state=state,
                changes=tuple(moment.changes),
                text=moment.text,
            )
        )
    return frames


_STEP_EVENTS: Final = frozenset(
    {
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
        EventType.EVENT_TYPE_MARKER_RECORDED,
    }
)
_SIGNALS: Final[Mapping[str, tuple[str, str]]] = {
    PAUSE_SIGNAL: ("run.paused", "somebody pauses it"),
    RESUME_SIGNAL: ("run.resumed", "somebody lets it go on"),
    HOLD_SIGNAL: ("run.paused", "its parent is paused"),
    RELEASE_SIGNAL: ("run.resumed", "its parent goes on"),
}
_WORDS: Final[Mapping[StepState, str]] = {StepState.PENDING: "scheduled", StepState.RUNNING: "started"}
_SAID: Final[Mapping[StepState, str]] = {
    StepState.PENDING: "is due",
    StepState.RUNNING: "begins",
    StepState.RETRYING: "will be tried again",
}
