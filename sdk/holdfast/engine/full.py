"""When a history is too full to go on: at 51,200 events Temporal ends a run, without compensation."""

from __future__ import annotations

from typing import Final

FULL_EVENTS: Final = 40_000
"""Above it a run begins no more steps and takes no more messages: what is left is for those that are on their way, for
compensation, and for continuing as new."""


def full(length: int) -> str | None:
    """What to tell whoever wants more of a run with so many events; None while there is room."""
    if length < FULL_EVENTS:
        return None
    return (
        f"its history has {length:,} events, and Temporal ends a run at 51,200: let the workflow call continue_as_new "
        "in time, or map_steps for many items"
    )
