"""Moments of a run: frames before they are in a row, and those of timers, child runs and waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from holdfast.client.frames import FrameChange, FrameItem, ItemKind
from holdfast.engine.history.boxes import Boxes
from holdfast.engine.history.calls import Call
from holdfast.engine.history.text import shortened
from holdfast.states import RunState, StepState

TEXT_CHARS: Final = 160


@dataclass(kw_only=True)
class Moment:
    """A frame in the making."""

    at: datetime
    execution: int
    event_id: int
    kind: str
    text: str
    changes: list[FrameChange] = field(default_factory=list[FrameChange])
    state: RunState | None = None
    """None: as before it."""


def moments_of_calls(boxes: Boxes, items: list[FrameItem]) -> list[Moment]:
    """Timers, child runs and waits."""
    moments: list[Moment] = []
    for kind in _CALLS:
        counts: Counter[str] = Counter()
        for call, node in boxes.others.get(kind, ()):
            if call.hidden or call.is_guard or call.scheduled is None:
                continue
            counts[call.label] += 1
            change = FrameChange(
                item=len(items), state=StepState.RUNNING if kind == "workflow" else StepState.WAITING
            )
            items.append(
                FrameItem(
                    kind=kind,
                    name=call.label,
                    ordinal=counts[call.label],
                    id=call.name,
                    execution=call.execution,
                    node=node,
                )
            )
            started = _of_call(call, kind, call.scheduled, call.event_id, "started", change)
            moments.append(started)
            if call.outcome is not None and call.closed is not None:
                at, ended = max(call.closed, call.scheduled), replace(change, state=call.outcome)
                moments.append(_of_call(call, kind, at, call.end_event_id, call.outcome.value, ended))
    return moments


def _of_call(call: Call, kind: str, at: datetime, event_id: int, what: str, change: FrameChange) -> Moment:
    return Moment(
        at=at,
        execution=call.execution,
        event_id=event_id,
        kind=f"{kind}.{what}",
        text=shortened(f"{_KINDS[kind]} {call.label!r} {what}", TEXT_CHARS),
        changes=[change],
    )


_CALLS: Final[tuple[ItemKind, ...]] = ("timer", "workflow", "wait", "approval")
_KINDS: Final[Mapping[str, str]] = {
    "timer": "timer",
    "workflow": "child run",
    "wait": "wait for",
    "approval": "approval",
}
