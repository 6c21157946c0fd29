"""What a run called, and in which turns: the events of Temporal, before anything is inferred from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from holdfast.engine.history.facts import COMPENSATION_PREFIX
from holdfast.states import StepState

Kind: TypeAlias = Literal["step", "timer", "workflow", "wait", "approval", "nexus"]


@dataclass(eq=False, slots=True, kw_only=True)
class Call:
    """Something that a run asked for and that ends: an activity, a timer, a child run, a wait."""

    index: int = -1
    """Its position among all calls: what it follows has a smaller one."""
    kind: Kind
    label: str
    name: str = ""
    """The activity id, the name of a wait: what tells it from others of its label."""
    execution: int = 0
    """The execution of the chain that it belongs to."""
    event_id: int = 0
    """The event that began it, and the one that ended it."""
    end_event_id: int = 0
    hidden: bool = False
    """Whether it is none of the user's: the picture shows what is before and after it."""
    input: Sequence[Payload] = ()
    result: Sequence[Payload] = ()
    scheduled: datetime | None = None
    started: datetime | None = None
    closed: datetime | None = None
    attempt: int = 1
    outcome: StepState | None = None
    failure: Failure | None = None
    is_over: bool = False
    """Whether it is open in an execution that has ended."""
    follows: tuple[Call, ...] = ()
    """The calls whose ends led to it."""

    @property
    def key(self) -> tuple[str, str]:
        """Calls with equal keys do the same. Of timers without a name, any two do."""
        return self.kind, self.name if self.kind == "timer" else self.label

    @property
    def is_guard(self) -> bool:
        """Whether nothing came of it: a timer that only limited something else."""
        return self.kind == "timer" and (
            self.hidden or self.outcome is StepState.CANCELLED or (self.outcome is None and self.is_over)
        )

    @property
    def compensates(self) -> str | None:
        """The activity id of the call it undoes, in runs of Holdfast."""
        if self.name.startswith(COMPENSATION_PREFIX):
            return self.name.removeprefix(COMPENSATION_PREFIX)
        return None


@dataclass(eq=False, slots=True, kw_only=True)
class Turn:
    """What workflow code did at once: what it learned, and what it asked for then."""

    ended: list[Call] = field(default_factory=list[Call])
    """In the order in which coroutines went on."""
    called: list[Call] = field(default_factory=list[Call])
    messages: list[Call] = field(default_factory=list[Call])
    """Signals and updates that arrived, each as a wait that it may have ended."""
    begun: list[Call] = field(default_factory=list[Call])
    """Children that were started."""
    is_last: bool = False
    """Whether the execution ended here."""
    is_early: bool = False
    """Whether it happened before what the workflow task brought was known."""


@dataclass(slots=True, kw_only=True)
class Calls:
    """The turns of a run."""

    workflow: str = ""
    turns: list[Turn] = field(default_factory=list[Turn])
    inputs: list[Payload] = field(default_factory=list[Payload])
    """The arguments of the run's executions."""
    updates: list[Call] = field(default_factory=list[Call])
    """What was asked of the run by updates that it did not refuse; their arguments are the results of these."""
    begins: list[str] = field(default_factory=list[str])
    """How each execution began: empty for the first one, else `continued as new` or the like."""
    is_closed: bool = False
    is_completed: bool = False
