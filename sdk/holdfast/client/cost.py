"""What `run.cost()` returns: what a run took from Temporal, and what of it could be saved."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RULES: Final = "https://docs.temporal.io/cloud/actions"
"""Where Temporal says what it bills as an action."""


@dataclass(frozen=True, kw_only=True)
class LocalCandidate:
    """A step that `@step(local=True)` would fit: all its calls took under a second, succeeded at once, ran where the
    workflow runs, and nothing undoes them. Whether it may run again after a crash, only its author knows."""

    step: str
    call_count: int
    longest: timedelta
    saves_events: int
    """At most: a chain of calls saves all of it, calls side by side share workflow tasks and save less."""

    saves_actions: int
    saves_round_trips: int


@dataclass(frozen=True, kw_only=True)
class LargePayload:
    """One value that is large in the history, or in storage."""

    what: str
    """`result of charge-1`, `input of the run`."""

    execution: int
    event_id: int
    size_bytes: int
    in_storage: bool = False
    """Whether the history holds only a reference to it."""


@dataclass(frozen=True, kw_only=True)
class StepUsage:
    """What the calls of a step report to have used up."""

    step: str
    call_count: int
    tokens: int
    cost_usd: float


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run took, over all its executions, without its child runs."""

    run_id: str
    workflow: str
    execution_count: int
    event_count: int
    history_bytes: int
    workflow_tasks: int
    """How often its code was called."""

    step_attempts: int
    """How often a worker was given a step; without local ones."""

    actions: Mapping[str, int] = field(default_factory=dict[str, int])
    """Actions as Temporal Cloud bills them, by what they are for; an estimate, see `not_counted`."""

    local: list[LocalCandidate] = field(default_factory=list[LocalCandidate])
    largest: list[LargePayload] = field(default_factory=list[LargePayload])
    """The five largest values."""

    usage: list[StepUsage] = field(default_factory=list[StepUsage])
    tokens: int = 0
    cost_usd: float = 0.0
    children: list[str] = field(default_factory=list[str])
    """Ids of its child runs, whose own steps are not counted here."""

    is_cut: bool = False
    """Whether executions before these are gone."""

    rules: str = RULES
    not_counted: str = (
        "heartbeats, queries, refused updates, schedules and exports, which no history tells of"
    )

    @property
    def action_count(self) -> int:
        """All actions."""
        return sum(self.actions.values())

    @property
    def round_trips(self) -> int:
        """How often the server handed out work and got an answer."""
        return self.workflow_tasks + self.step_attempts

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values; durations in seconds."""
        found = dataclasses.asdict(self)
        for candidate in found["local"]:
            candidate["longest"] = candidate["longest"].total_seconds()
        return {**found, "action_count": self.action_count, "round_trips": self.round_trips}
