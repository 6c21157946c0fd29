"""What happened in an execution, for those who listen. Pure.

Each event has an identity made of the execution and of what happened, so that a second telling is nothing. All are
told anew from the whole history each time: who comes late misses none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue
from temporalio.api.enums.v1 import EventType, RetryState
from temporalio.api.history.v1 import HistoryEvent

from holdfast.client.description import ErrorInfo, RunDescription, StepDescription
from holdfast.engine.history.build import WAITS_MEMO
from holdfast.engine.history.facts import HOLD_SIGNAL, PAUSE_SIGNAL, RELEASE_SIGNAL, RESUME_SIGNAL
from holdfast.engine.history.payloads import Opened
from holdfast.engine.start_memo import EMITTED_MEMO
from holdfast.states import RunState, StepState
from holdfast.store.columns import MESSAGE_BYTES, STEP_PREVIEW_BYTES, cut
from holdfast.store.rows import Event, preview

TOLD_RETRIES: Final = 10
"""How many retries of a step are told; a step that is tried for days would tell of nothing else."""

_ENDS: Final = {
    RunState.COMPLETED: "workflow.completed",
    RunState.FAILED: "workflow.failed",
    RunState.TIMED_OUT: "workflow.failed",
    RunState.CANCELLED: "workflow.cancelled",
    RunState.TERMINATED: "workflow.cancelled",
}
_STEP_ENDS: Final = {
    StepState.COMPLETED: "step.completed",
    StepState.COMPENSATED: "step.completed",
    StepState.FAILED: "step.failed",
    StepState.SKIPPED: "step.skipped",
}


def events_of(run: RunDescription, history: Sequence[HistoryEvent], notes: Opened) -> list[Event]:
    """The events of an execution up to now, as far as its history has them.

    Args:
        run: What the history says.
        history: All events of Temporal, from the start on.
        notes: Opens what the run wrote down of its waits and of what it emitted.
    """
    told = _Teller(run)
    return [
        *told.start(history),
        *told.pauses(history),
        *told.approvals(history, notes),
        *told.emitted(history, notes),
        *told.steps(),
        *told.end(history),
    ]


class _Teller:
    def __init__(self, run: RunDescription) -> None:
        self.run = run

    def start(self, history: Sequence[HistoryEvent]) -> Iterator[Event]:
        start = history[0].workflow_execution_started_event_attributes
        if self.run.started and not start.continued_execution_run_id:
            shown = [preview(given, STEP_PREVIEW_BYTES) for given in self.run.input[:10]]
            yield self._event("workflow.started", self.run.started, "started", input=shown)

    def pauses(self, history: Sequence[HistoryEvent]) -> Iterator[Event]:
        paused = False
        # Of an execution before this one it is not known here; its parent only releases what it has told to hold.
        held = bool(history[0].workflow_execution_started_event_attributes.continued_execution_run_id)
        for event in history:
            kind: str | None = None
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                name = event.workflow_execution_signaled_event_attributes.signal_name
                if name == PAUSE_SIGNAL or (name == HOLD_SIGNAL and not paused):
                    kind = "workflow.paused"
                elif name == RESUME_SIGNAL or (name == RELEASE_SIGNAL and held and not paused):
                    kind = "workflow.resumed"  # but not of a child that somebody has paused besides
                paused = name == PAUSE_SIGNAL or (paused and name != RESUME_SIGNAL)
                held = name == HOLD_SIGNAL or (held and name not in (RELEASE_SIGNAL, RESUME_SIGNAL))
            elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED:
                kind = "workflow.paused"
            elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED:
                kind = "workflow.resumed"
            if kind is not None:
                yield self._event(kind, event.event_time.ToDatetime(UTC), str(event.event_id))

    def approvals(self, history: Sequence[HistoryEvent], waits: Opened) -> Iterator[Event]:
        open_ones: dict[tuple[str, str], dict[str, Any]] = {}
        for event in history:
            memo = event.workflow_properties_modified_event_attributes.upserted_memo.fields
            if WAITS_MEMO not in memo:
                continue
            at = event.event_time.ToDatetime(UTC)
            listed = _approvals(waits.json(memo[WAITS_MEMO]))
            for key in [key for key in open_ones if key not in listed]:
                facts = open_ones.pop(key)
                expired = _passed(facts["deadline"], at) or None
                yield self._approval("approval.decided", at, key, name=facts["name"], expired=expired)
            for key, facts in listed.items():
                if key not in open_ones:
                    open_ones[key] = facts
                    yield self._approval("approval.requested", at, key, **facts)

    def emitted(self, history: Sequence[HistoryEvent], notes: Opened) -> Iterator[Event]:
        for event in history:
            memo = event.workflow_properties_modified_event_attributes.upserted_memo.fields
            if EMITTED_MEMO not in memo:
                continue
            written = notes.json(memo[EMITTED_MEMO])
            if isinstance(written, dict) and isinstance(kind := written.get("event"), str):
                at = event.event_time.ToDatetime(UTC)
                yield self._event(kind, at, f"emitted/{event.event_id}", payload=written.get("payload"))

    def end(self, history: Sequence[HistoryEvent]) -> Iterator[Event]:
        run = self.run
        if run.closed is None or not run.state.closed or _goes_on(history[-1]):
            return
        duration = run.duration.total_seconds() if run.duration is not None else None
        failed = next((step.name for step in run.steps if step.failed), None)
        yield self._event(
            _ENDS[run.state],
            run.closed,
            "ended",
            state=run.state.value,
            duration_seconds=duration,
            result=preview(run.result, STEP_PREVIEW_BYTES),
            failed_step=failed,
            retries=sum(step.attempt - 1 for step in run.steps),
            **_error(run.error),
        )

    def steps(self) -> Iterator[Event]:
        undone = {step.compensates: step.closed for step in self.run.steps if step.compensates}
        for step in self.run.steps:
            yield from self._step(step, undone.get(step.activity_id))

    def _step(self, step: StepDescription, undone: datetime | None) -> Iterator[Event]:
        begun = step.scheduled or step.started or self.run.started
        if begun is None:
            return
        latest_begun = step.started or begun
        waits = step.state is StepState.RETRYING  # the attempt that it counts has not begun
        if step.started is not None:
            # Temporal keeps the start of the latest attempt only.
            first = latest_begun if step.attempt - waits == 1 else begun
            yield self._of(step, "step.started", first, "started", attempt=1)
        for attempt in range(1, min(step.attempt, TOLD_RETRIES + 1)):
            latest = step.last_failure if attempt == step.attempt - 1 else None
            error = _error(latest)
            yield self._of(
                step, "step.retrying", latest_begun, f"retrying/{attempt}", attempt=attempt, **error
            )
        kind = "step.failed" if step.failed else _STEP_ENDS.get(step.state)
        if kind is not None and step.closed is not None:
            duration = (step.closed - step.started).total_seconds() if step.started else None
            error = _error(step.error)
            shown = preview(step.result, STEP_PREVIEW_BYTES)
            yield self._of(step, kind, step.closed, "ended", duration_seconds=duration, result=shown, **error)
        if step.state is StepState.COMPENSATED and undone is not None:
            yield self._of(step, "step.compensated", undone, "compensated")

    def _of(self, step: StepDescription, kind: str, at: datetime, what: str, **facts: Any) -> Event:
        named = {"step": step.name, "ordinal": step.ordinal, "attempt": step.attempt}
        return self._event(
            kind, at, f"{step.name}/{step.activity_id}/{step.ordinal}/{what}", **(named | facts)
        )

    def _approval(self, kind: str, at: datetime, key: tuple[str, str], **facts: Any) -> Event:
        return self._event(kind, at, f"{kind}/{key[0]}/{key[1]}", **facts)

    def _event(self, kind: str, at: datetime, what: str, **facts: Any) -> Event:
        run = self.run
        payload = {"workflow": run.workflow, "execution_id": run.execution_id, **facts}
        return Event(
            kind=kind, at=at, run_id=run.id, identity=f"{run.execution_id}/{what}",
            payload={name: value for name, value in payload.items() if value is not None},
        )  # fmt: skip


def _approvals(written: JsonValue) -> dict[tuple[str, str], dict[str, Any]]:
    """The approvals among what a run wrote down of its waits, by name and beginning."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for item in written if isinstance(written, list) else []:
        if isinstance(item, dict) and item.get("kind") == "approval":
            facts = {name: item.get(name) for name in ("name", "prompt", "deadline")}
            texts = {name: value if isinstance(value, str) else None for name, value in facts.items()}
            prompt = texts["prompt"] and cut(texts["prompt"], MESSAGE_BYTES)
            found[str(item.get("name")), str(item.get("since"))] = {**texts, "prompt": prompt}
    return found


def _passed(deadline: str | None, at: datetime) -> bool:
    try:
        moment = datetime.fromisoformat(deadline or "")
    except ValueError:
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) <= at


def _goes_on(last: HistoryEvent) -> bool:
    """Whether an execution ended by going on in another, which is no end of the run."""
    kind = last.WhichOneof("attributes")
    if kind == "workflow_execution_continued_as_new_event_attributes":
        return True
    if kind == "workflow_execution_failed_event_attributes":
        retry = last.workflow_execution_failed_event_attributes.retry_state
    elif kind == "workflow_execution_timed_out_event_attributes":
        retry = last.workflow_execution_timed_out_event_attributes.retry_state
    else:
        return False
    return retry == RetryState.RETRY_STATE_IN_PROGRESS


def _error(error: ErrorInfo | None) -> dict[str, Any]:
    return {"error": {"type": error.type, "message": cut(error.message, MESSAGE_BYTES)}} if error else {}
