"""What a box in a picture of a run says beside its name: the worst state, and one line about its calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from holdfast.client.description import RunDescription
from holdfast.engine.history.calls import Call
from holdfast.states import StepState

WORST_FIRST: Final = (
    StepState.FAILED,
    StepState.RETRYING,
    StepState.RUNNING,
    StepState.WAITING,
    StepState.PENDING,
    StepState.CANCELLED,
    StepState.COMPENSATED,
    StepState.COMPLETED,
    StepState.SKIPPED,
)
"""What is most worth knowing of several calls comes first."""


def worst(states: Iterable[StepState | None]) -> StepState | None:
    """The state of a box of several calls."""
    there = set(states)
    return next((state for state in WORST_FIRST if state in there), None)


def detail(counts: Mapping[StepState | None, int], attempts: int, span: str | None, error: str = "") -> str:
    """The second line of a box: `48 completed, 2 failed, 60 attempts, 1.4 s, ValueError`."""
    total = sum(counts.values())
    parts = [
        f"{count} {state.value}" for state, count in counts.items() if state is not None and count < total
    ]
    if attempts > total:
        parts.append(f"{attempts} attempts")
    return ", ".join([*parts, *(part for part in (span, error) if part)])


def took(begins: Iterable[datetime | None], ends: Iterable[datetime | None]) -> str | None:
    """How long it was from the first begin to the last end, if all have ended."""
    begun, ended = [at for at in begins if at], list(ends)
    closed = [at for at in ended if at]
    if not begun or not closed or len(closed) < len(ended):
        return None
    seconds = max((max(closed) - min(begun)).total_seconds(), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class States:
    """The states of calls, of which the description knows the open ones of the last execution."""

    def __init__(self, calls: Sequence[Call], description: RunDescription | None) -> None:
        self._last = max((call.execution for call in calls), default=0)
        self._open = {step.activity_id: step for step in description.steps} if description else {}
        self._undone = {
            (call.execution, call.compensates) for call in calls if call.outcome is StepState.COMPLETED
        }

    def state(self, call: Call) -> StepState | None:
        """The state of a call; None for a child that went on when its parent ended."""
        if call.outcome is not None:
            undone = call.kind == "step" and (call.execution, call.name) in self._undone
            return StepState.COMPENSATED if undone else call.outcome
        if call.is_over:
            # What the server drops at the end of a run; a child may go on.
            return None if call.kind == "workflow" else StepState.CANCELLED
        if call.kind in {"timer", "wait", "approval"}:
            return StepState.WAITING
        if call.kind == "step" and call.execution == self._last and call.name in self._open:
            return self._open[call.name].state
        return StepState.RUNNING if call.started is not None else StepState.PENDING

    def attempts(self, call: Call) -> int:
        """How often it was tried."""
        if call.outcome is None and call.execution == self._last and call.name in self._open:
            return self._open[call.name].attempt
        return call.attempt

    def error(self, call: Call) -> str:
        """The type of the exception that user code raised, or what else went wrong."""
        failure = call.failure
        while failure is not None and failure.HasField("cause"):
            failure = failure.cause
        if failure is None:
            return ""
        if failure.WhichOneof("failure_info") == "timeout_failure_info":
            return "timed out"
        return failure.application_failure_info.type
