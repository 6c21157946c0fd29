"""Runs that do not move, and why. Pure: made from what descriptions and the history say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from holdfast.jsonable import Jsonable
from holdfast.states import RunState

Cause: TypeAlias = Literal[
    "no_worker", "non_determinism", "failing", "paused", "backoff", "limit", "breaker", "approval", "message"
]

NEEDS_MENDING: Final[frozenset[Cause]] = frozenset({"no_worker", "non_determinism", "failing"})
"""Causes that do not go away by themselves, and that nobody has wanted."""

SENTENCES: Final[dict[Cause, tuple[str, ...]]] = {
    "backoff": (" retries at ", " retries after ", " retries"),
    "limit": ("waits for its turn under a limit",),
    "breaker": ("waits for the circuit breaker ",),
    "paused": ("is held by the server",),
    "approval": ("waits for approval ", "waits for somebody to retry or skip"),
    "message": ("waits for message ",),
}
"""Parts of what is said of a run that waits (`waiting_for`), by cause; the first that is found counts."""


@dataclass(frozen=True, kw_only=True)
class StuckRun(Jsonable):
    """An open run that does not move."""

    id: str
    workflow: str
    state: RunState
    cause: Cause
    """`no_worker`, `non_determinism` and `failing` (its workflow task fails again and again) are to be mended; `paused`
    by somebody; `backoff`, until the next attempt of a step; `limit`, until there is a place; `breaker`, until a
    service may be called again; `approval` and `message`, until somebody decides or sends it."""

    why: str
    """In a sentence or two, with what to do."""

    since: datetime
    """How long it has not moved, as far as that is known."""


def cause_of(state: RunState, stuck: str | None, waiting_for: str | None) -> Cause | None:
    """Why a run does not move; `None` if it moves, sleeps, or waits for its children.

    Args:
        state: Its state.
        stuck: Why it cannot go on.
        waiting_for: What it waits for.
    """
    if stuck:
        if stuck.startswith("no worker"):
            return "no_worker"
        return "non_determinism" if "(non-determinism)" in stuck else "failing"
    if state is RunState.PAUSED:
        return "paused"
    for cause, parts in SENTENCES.items():
        if any(part in (waiting_for or "") for part in parts):
            return cause
    return None
