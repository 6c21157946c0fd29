"""The states of runs and steps: one enum each, for SQL, REST, CLI and console."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """What a run does now, derived from its history."""

    PENDING = "pending"
    """Started, but no worker has taken it up yet."""
    RUNNING = "running"
    WAITING = "waiting"
    """Only messages, approvals or timers can move it on; no step is open."""
    PAUSED = "paused"
    """An operator holds its new steps."""
    STUCK = "stuck"
    """It cannot go on until somebody mends something; the reason is with it. Then it goes on by itself."""
    COMPENSATING = "compensating"
    """It failed or was cancelled, and undoes its completed steps."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    """Ended from outside; none of its code ran after that, compensation included."""
    TIMED_OUT = "timed_out"

    @property
    def closed(self) -> bool:
        """Whether the run has ended."""
        return self in _CLOSED


class StepState(StrEnum):
    """What a step does now, derived from the history of its run."""

    PENDING = "pending"
    """Scheduled, no worker has started it yet."""
    RUNNING = "running"
    RETRYING = "retrying"
    """An attempt failed, the next one is due later."""
    WAITING = "waiting"
    """Held by the server until somebody releases it."""
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    COMPENSATED = "compensated"
    """Undone: its compensation completed."""
    CANCELLED = "cancelled"

    @property
    def closed(self) -> bool:
        """Whether the step has ended."""
        return self not in _OPEN_STEP


_CLOSED = frozenset(
    {RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED, RunState.TERMINATED, RunState.TIMED_OUT}
)
_OPEN_STEP = frozenset({StepState.PENDING, StepState.RUNNING, StepState.RETRYING, StepState.WAITING})
