"""What `run.frames()` returns: a recorded run as a row of moments, for a player. Nothing is executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from holdfast.states import RunState, StepState

if TYPE_CHECKING:
    from pydantic import JsonValue

ItemKind: TypeAlias = Literal["step", "timer", "workflow", "wait", "approval"]


@dataclass(frozen=True, kw_only=True)
class FrameItem:
    """Something of a run that has a state: a step, a timer, a child run, a wait."""

    kind: ItemKind
    name: str
    """The step's or workflow's name, what a timer is for, what is waited for."""

    ordinal: int = 1
    """Which call of that name it is."""

    id: str = ""
    """The activity id of a step, the run id of a child."""

    execution: int = 0
    """Which execution of the run it belongs to, from 0; a run that continues as new has several."""

    node: str | None = None
    """The box of `run.diagram()` that it belongs to: of a DAG the node."""

    compensates: str | None = None
    """The activity id of the step that it undoes."""

    local: bool = False

    def to_dict(self) -> dict[str, JsonValue]:
        """The same as JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "ordinal": self.ordinal,
            "id": self.id,
            "execution": self.execution,
            "node": self.node,
            "compensates": self.compensates,
            "local": self.local,
        }


@dataclass(frozen=True, kw_only=True)
class FrameChange:
    """The new state of an item, or of a box that has none: a choice, a node that was skipped."""

    item: int | None = None
    """Its position in `Frames.items`."""

    node: str | None = None
    """The box, where it is no item's change."""

    state: StepState
    attempt: int = 1

    def to_dict(self) -> dict[str, JsonValue]:
        """The same as JSON values."""
        what: dict[str, JsonValue] = {"node": self.node} if self.item is None else {"item": self.item}
        return {**what, "state": self.state.value, "attempt": self.attempt}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One moment of a run."""

    event_id: int
    """The event of the execution's history that tells of it."""

    execution: int
    kind: str
    """What happened: `run.started`, `step.completed`, `timer.started`, `message`, `now`, ..."""

    at: datetime
    state: RunState
    """The run's state from here on."""

    changes: tuple[FrameChange, ...] = ()
    text: str = ""
    """What happened, in one line."""

    merged_count: int = 0
    """So many moments before it are part of this frame, since there were too many."""

    def to_dict(self) -> dict[str, JsonValue]:
        """The same as JSON values."""
        return {
            "event_id": self.event_id,
            "execution": self.execution,
            "kind": self.kind,
            "at": self.at.isoformat(),
            "state": self.state.value,
            "changes": [change.to_dict() for change in self.changes],
            "text": self.text,
            "merged_count": self.merged_count,
        }


@dataclass(frozen=True, kw_only=True)
class Frames:
    """A recorded run, ready to be played."""

    run_id: str
    workflow: str
    items: list[FrameItem] = field(default_factory=list[FrameItem])
    """In the order in which they came up."""

    frames: list[Frame] = field(default_factory=list[Frame])
    """In the order of time."""

    event_count: int = 0
    """Of all executions that were read."""

    execution_count: int = 0
    is_cut: bool = False
    """Whether executions before the first one here are gone, or too many."""

    @property
    def merged_count(self) -> int:
        """So many moments are not frames of their own."""
        return sum(frame.merged_count for frame in self.frames)

    def states(self, count: int | None = None) -> Mapping[int, StepState]:
        """The state of each item, by its position, after so many frames. Default: after all."""
        found: dict[int, StepState] = {}
        for frame in self.frames[:count]:
            found |= {change.item: change.state for change in frame.changes if change.item is not None}
        return found

    def to_dict(self) -> dict[str, JsonValue]:
        """The same as JSON values, for a player in a browser."""
        return {
            "run_id": self.run_id,
            "workflow": self.workflow,
            "items": [item.to_dict() for item in self.items],
            "frames": [frame.to_dict() for frame in self.frames],
            "event_count": self.event_count,
            "execution_count": self.execution_count,
            "is_cut": self.is_cut,
            "merged_count": self.merged_count,
        }
