"""What a box in a picture of a run says beside its name: the worst state, and one line about its calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

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
