"""What `run.describe()` returns: a run, its steps and its waits, as facts read from the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from holdfast.jsonable import Jsonable
from holdfast.states import RunState, StepState

if TYPE_CHECKING:
    from pydantic import JsonValue

CANCELLED: Final = "CancelledError"
"""The type of the error of what was cancelled."""


@dataclass(frozen=True, kw_only=True)
class Preview(Jsonable):
    """A payload, as far as a person reads it."""

    value: JsonValue = None
    """The decoded value, if all of it is here; else `None`."""

    text: str
    """The value as JSON text, cut to the limit; what it is instead, if it cannot be shown."""

    size_bytes: int
    """The size of the payload in the history; of the value itself, if that is stored elsewhere."""

    complete: bool
    """Whether `value` is the whole value."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class ErrorInfo(Jsonable):
    """Why a run, a step or an attempt failed."""

    type: str
    """The class name of the exception, such as `ConnectionError`; `TimeoutError` if time ran out."""

    message: str
    step_type: str | None = None
    """Of a run that ended with `StepFailed`: the class name of what its step raised."""

    @property
    def known_as(self) -> str:
        """The type by which people know it: of a `StepFailed` what its step raised."""
        return self.step_type or self.type

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True, kw_only=True)
class StepDescription(Jsonable):
    """One step of a run."""

    name: str
    ordinal: int
    """Which call of this step it is in its run, from 1."""

    activity_id: str
    state: StepState
    local: bool = False
    """Whether it ran inside the workflow task."""

    attempt: int
    """The latest attempt, from 1."""

    scheduled: datetime | None = None
    started: datetime | None = None
    """When the latest attempt started."""

    closed: datetime | None = None
    duration: timedelta | None = None
    """From the start of the latest attempt to the end, or to now."""

    error: ErrorInfo | None = None
    """Why it failed for good."""

    last_failure: ErrorInfo | None = None
    """Why the attempt before the latest one failed."""

    next_attempt_at: datetime | None = None
    """When a retrying step is due again."""

    worker: str | None = None
    """The identity of the worker that took the latest attempt."""

    queue: str | None = None
    """The queue it was sent to; `None` for local steps."""

    summary: str | None = None
    input: list[Preview] = field(default_factory=list[Preview])
    result: Preview | None = None
    compensates: str | None = None
    """The activity id of the step that it undoes, if it is a compensation."""

    reused_from: str | None = None
    """Of a retried or forked run: the execution that this step completed in; it did not run in this one."""

    rerun: str | None = None
    """Why it ran again although it had completed in an earlier execution."""

    @property
    def failed(self) -> bool:
        """Whether it failed for good, also if it was compensated since."""
        if self.state is not StepState.COMPENSATED:
            return self.state is StepState.FAILED
        return self.error is not None and self.error.type != CANCELLED

    def __str__(self) -> str:
        name = self.name if self.ordinal == 1 else f"{self.name} #{self.ordinal}"
        facts = [f"{name}: {self.state.value}", f"attempt {self.attempt}", _span(self.duration)]
        error = self.error or (None if self.state.closed else self.last_failure)
        if self.reused_from:
            facts = [f"{name}: {self.state.value}", "reused from an earlier execution"]
        if self.rerun:
            facts.append(f"rerun because {self.rerun}")
        return ", ".join(filter(None, facts)) + (f": {error}" if error else "")


@dataclass(frozen=True, kw_only=True)
class WaitDescription(Jsonable):
    """A `wait_for` or an `approval` that is open."""

    name: str
    kind: Literal["wait", "approval"]
    prompt: str | None = None
    form: Mapping[str, JsonValue] | None = None
    """The JSON Schema of the answer to an approval."""

    deadline: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Origin(Jsonable):
    """What a retried or forked run goes on from."""

    kind: Literal["retry", "fork"]
    run: str
    """The id of that run: of a retry the same one."""

    execution_id: str
    by: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        what = f"retry of execution {self.execution_id}" if self.kind == "retry" else f"fork of {self.run}"
        return what + (f" by {self.by}" if self.by else "") + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, kw_only=True)
class RunDescription(Jsonable):
    """A run as its history tells it. A continued run is described by its latest execution."""

    id: str
    workflow: str
    """The name of the workflow, or of the DAG."""

    state: RunState
    queue: str
    execution_id: str
    """Temporal's run id."""

    started: datetime | None = None
    closed: datetime | None = None
    duration: timedelta | None = None
    """From start to end, or to now."""

    input: list[Preview] = field(default_factory=list[Preview])
    """Its arguments; of a DAG its input."""

    result: Preview | None = None
    error: ErrorInfo | None = None
    steps: list[StepDescription] = field(default_factory=list[StepDescription])
    """In the order in which they were scheduled, compensations included."""

    waits: list[WaitDescription] = field(default_factory=list[WaitDescription])
    listens_to: list[str] | None = None
    """Of a DAG: the names of all messages and approvals that its nodes wait for at some time. None where nobody can
    tell, as for code."""

    waiting_for: str | None = None
    """What the run waits for, in one sentence; `None` once it is closed."""

    stuck: str | None = None
    """Why it cannot go on, and what to do."""

    paused_by: str | None = None
    pause_reason: str | None = None
    cancel_requested: bool = False
    pending_compensations: list[str] = field(default_factory=list[str])
    """Activity ids of steps that would have to be undone if the run ended now, as far as is known here."""

    not_reached: list[str] = field(default_factory=list[str])
    """Of a retried run that has ended: steps and child runs that had completed in an earlier execution, that this one
    did not come to, and that nobody has undone."""

    children: list[str] = field(default_factory=list[str])
    """Ids of the runs it started."""

    parent: str | None = None
    """The id of the run that started it."""

    trigger: str | None = None
    """The name of the trigger that started it."""

    origin: Origin | None = None
    """What it goes on from, if somebody retried or forked a run."""

    attempt: int = 1
    """Which attempt of the run it is, if the run as a whole is retried."""

    history_event_count: int = 0
    history_size_bytes: int = 0
    memo: Mapping[str, JsonValue] = field(default_factory=dict[str, Any])
    search_attributes: Mapping[str, JsonValue] = field(default_factory=dict[str, Any])
    build_id: str | None = None
    """The worker build that it belongs to, with worker versioning."""

    local_steps_note: str | None = None
    """What local steps mean for a crash, if the run has any."""

    def step(self, name: str, ordinal: int = 1) -> StepDescription | None:
        """The step of that name and ordinal, if the run has it."""
        return next((step for step in self.steps if (step.name, step.ordinal) == (name, ordinal)), None)

    def __str__(self) -> str:
        """The run for people to read: state, reason, error, and one line per step."""
        facts = {
            "run": self.id,
            "workflow": self.workflow,
            "state": self.state.value,
            "begun as": self.origin,
            "stuck": self.stuck,
            "waits for": None if self.stuck else self.waiting_for,
            "error": self.error,
            "took" if self.state.closed else "for": _span(self.duration),
            "not reached, done before": ", ".join(self.not_reached),
        }
        lines = [f"{name:<9} {_line(fact)}" for name, fact in facts.items() if fact]
        if self.steps:
            lines += ["steps", *(f"  {_line(step)}" for step in self.steps)]
        return "\n".join(lines)


def _span(duration: timedelta | None) -> str | None:
    """A duration in seconds, or in hours, minutes and seconds from a minute on."""
    if duration is None:
        return None
    seconds = duration.total_seconds()
    return f"{seconds:.2f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def _line(fact: object) -> str:
    """As text on one line; control characters, which may come from any input, appear as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(fact)
    )
