"""What a run of a DAG shows of itself: every node with its state, attempts and times."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from holdfast.states import StepState

Skip = Literal["node", "branch", "cascade"]
"""`node`: only this one. `branch`: a switch chose another way. `cascade`: with all that depends on it."""

Choice = Literal["retry", "skip"]
"""What somebody may decide for a node."""


@dataclass(kw_only=True)
class NodeView:
    """One node of a run, as `run.state()` shows it."""

    state: StepState | None = None
    """None until what it depends on has ended."""
    waits_for: str | None = None
    """Why it does not go on, in a few words; None while it works and once it has ended. What its steps do on the
    workers, `run.describe()` says."""
    attempts: int | None = None
    """Of the call that has ended last, or of the one that works now, if it took more than one."""
    started: datetime | None = None
    closed: datetime | None = None
    error: str | None = None
    done: int = 0
    """Items of a map, runs of a loop, or pages, looks and turns of an executor that have completed."""
    total: int | None = None
    """Items of a map."""
    failed: int = 0
    """Items of a map that failed, where it collects."""
    until: datetime | None = None
    """When a wait ends by itself."""
    skipped_as: Skip | None = None
    decision: Choice | None = None
    """What somebody decided for a node that has not ended, or failed where the run pauses then."""


@dataclass(kw_only=True)
class DagView:
    """A run of a DAG, as `run.state()` shows it."""

    dag: str
    error: str | None = None
    """Why the run ends, once a node has failed it or it was cancelled."""
    nodes: dict[str, NodeView] = field(default_factory=dict[str, NodeView])
    usage: dict[str, float] = field(default_factory=dict[str, float])
    """What its calls used up so far: `calls`, `seconds`, and what they report, as `cost_usd` and `tokens`."""
    budget: dict[str, float] = field(default_factory=dict[str, float])
    """How much of each it may use up, as far as that is limited; a person may have raised it."""
