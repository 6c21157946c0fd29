"""What the events of one execution say, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    WorkflowExecutionStartedEventAttributes,
    WorkflowTaskFailedEventAttributes,
)

from holdfast.states import RunState, StepState

PAUSE_SIGNAL = "holdfast.pause"
RESUME_SIGNAL = "holdfast.resume"
HOLD_SIGNAL = "holdfast.hold"
RELEASE_SIGNAL = "holdfast.release"
COMPENSATION_PREFIX = "compensate:"
INTERNAL_PREFIXES = ("__temporal", "holdfast.")
"""Names that begin so are Holdfast's or Temporal's own."""


@dataclass(slots=True, kw_only=True)
class StepFacts:
    """One activity, local or not."""

    name: str
    activity_id: str
    local: bool = False
    queue: str | None = None
    input: list[Payload] = field(default_factory=list[Payload])
    summary: Payload | None = None
    scheduled: datetime | None = None
    started: datetime | None = None
    closed: datetime | None = None
    attempt: int = 1
    outcome: StepState | None = None
    """Completed, failed or cancelled; `None` while it is open."""
    failure: Failure | None = None
    """Why it failed for good."""
    last_failure: Failure | None = None
    result: Payload | None = None
    worker: str | None = None
    next_attempt_at: datetime | None = None
    undoable: bool = False
    """Whether it is known to have a compensation."""

    @property
    def internal(self) -> bool:
        """Whether it is none of the user's steps."""
        return self.name.startswith(INTERNAL_PREFIXES)

    @property
    def compensates(self) -> str | None:
        """The activity id of the step it undoes."""
        if self.activity_id.startswith(COMPENSATION_PREFIX):
            return self.activity_id[len(COMPENSATION_PREFIX) :]
        return None


@dataclass(slots=True, kw_only=True)
class TimerFacts:
    """A timer that is open."""

    fires_at: datetime
    summary: Payload | None = None


@dataclass(slots=True, kw_only=True)
class TaskFailure:
    """Why the latest workflow task came to nothing."""

    failed: WorkflowTaskFailedEventAttributes | None = None
    """`None` if it timed out."""
    attempt: int = 1
    at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Timeline:
    """What the events say."""

    start: WorkflowExecutionStartedEventAttributes | None = None
    started: datetime | None = None
    closed: datetime | None = None
    latest: datetime | None = None
    """The time of the last event."""
    event_count: int = 0
    end: RunState | None = None
    continued: bool = False
    """Whether it ended by going on as a new execution."""
    result: Payload | None = None
    failure: Failure | None = None
    end_reason: str | None = None
    """What the one who terminated it said."""
    steps: list[StepFacts] = field(default_factory=list[StepFacts])
    timers: dict[int, TimerFacts] = field(default_factory=dict[int, TimerFacts])
    """Open ones, by the number of their first event."""
    children: dict[int, str] = field(default_factory=dict[int, str])
    """All child runs, by the number of their first event."""
    open_children: dict[int, str] = field(default_factory=dict[int, str])
    pause: Payload | None = None
    """What the pause signal said; see `paused`."""
    paused: bool | None = None
    """`None` if no signal said so or otherwise."""
    held: bool | None = None
    """Whether its parent holds it; `None` if no signal said so or otherwise."""
    hold: Payload | None = None
    """What the signal said by which its parent holds it."""
    paused_by_server: tuple[str, str] | None = None
    """Who paused it in Temporal itself, and why."""
    cancel_requested: bool = False
    memo: dict[str, Payload] = field(default_factory=dict[str, Payload])
    reused: list[Payload] = field(default_factory=list[Payload])
    """What the run wrote down of results that it was given, in order."""
    search_attributes: dict[str, Payload] = field(default_factory=dict[str, Payload])
    completed_tasks: int = 0
    open_task: bool = False
    task_failure: TaskFailure | None = None
    """Of the last workflow task, if it did not complete."""
    build_id: str | None = None
