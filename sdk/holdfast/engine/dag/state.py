"""What a run of a DAG shows of itself: every node with its state, attempts and times."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from holdfast.states import StepState

Skip = Literal["node", "branch", "cascade"]
"""`node`: only this one. `branch`: a switch chose another way. `cascade`: with all that depends on it."""


@dataclass(kw_only=True)
class NodeView:
    """One node of a run, as `run.state()` shows it."""

    state: StepState | None = None
    """None until what it depends on has ended."""
    started: datetime | None = None
    closed: datetime | None = None
    error: str | None = None
    done: int = 0
    """Items of a map or runs of a loop that have completed."""
    total: int | None = None
    """Items of a map."""
    skipped_as: Skip | None = None
    decision: Literal["retry", "skip"] | None = None
    """What somebody decided for a node that failed, where the run pauses then."""


@dataclass(kw_only=True)
class DagView:
    """A run of a DAG, as `run.state()` shows it."""

    dag: str
    nodes: dict[str, NodeView] = field(default_factory=dict[str, NodeView])
