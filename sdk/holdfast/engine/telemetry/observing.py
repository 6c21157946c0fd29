"""What is told of steps and runs as they end, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from holdfast.engine.telemetry.trace_ids import RunTrace

StepOutcome = Literal["completed", "failed", "cancelled", "postponed"]
"""`postponed`: it ends later, by its token, or it is not its turn yet."""

RunOutcome = Literal["completed", "failed", "cancelled", "continued"]


@dataclass(frozen=True, kw_only=True)
class StepEnd:
    """One attempt of a step has ended here."""

    step: str
    queue: str
    outcome: StepOutcome
    attempt: int
    seconds: float
    wait_seconds: float | None
    """Between the time when a first attempt could have begun and the time when it did. Later ones wait for their delay,
    which Temporal does not tell apart."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """One execution of a run has ended here. A run that times out or is terminated ends without a worker."""

    workflow: str
    run_id: str
    execution_id: str
    outcome: RunOutcome
    started: datetime
    seconds: float
    error_type: str | None
    trace: RunTrace | None


class Observer(Protocol):
    """Is told from the threads where things happen: it must be quick, and may not fail."""

    def step_began(self, queue: str) -> None:
        """An attempt begins."""

    def step_ended(self, end: StepEnd) -> None:
        """An attempt has ended."""

    def run_ended(self, end: RunEnd) -> None:
        """A run has ended."""
