"""What is told of triggers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.jsonable import Jsonable
from holdfast.triggers.declared import Policy


@dataclass(frozen=True, kw_only=True)
class TriggeredRun(Jsonable):
    """A run that a trigger started."""

    run_id: str
    execution_id: str
    due: datetime | None = None
    """The time that started it; `None` if an event or a message did."""

    started: datetime


@dataclass(frozen=True, kw_only=True)
class TriggerInfo(Jsonable):
    """A trigger as it is now."""

    name: str
    kind: str
    """`cron`, `calendar`, `interval`, `event` or `webhook`."""

    on: str
    """When it starts runs, in words."""

    workflow: str
    """The name of the workflow or the DAG."""

    version: int | None = None
    """Of a stored workflow, the version that it starts."""

    queue: str
    paused: bool
    note: str | None = None
    """Why it is paused, or what was noted else."""

    owner: str | None = None
    """`module:workflow` of the code that declares it; `None` if it was made by a call."""

    policy: Policy | None = None
    """Of a timed one."""

    created: datetime
    updated: datetime | None = None
    fired_count: int | None = None
    """How many runs a timed one has started."""

    missed_count: int | None = None
    """How many times passed while the server was down, longer ago than `catchup_window`."""

    skipped_count: int | None = None
    """How many were left out since the run before had not ended."""

    running: Sequence[str] = ()
    """The ids of its open runs, of a timed one."""

    last: Sequence[TriggeredRun] = field(default=())
    """Its last five runs, the latest first; in lists only those of timed ones."""

    next: Sequence[datetime] = ()
    """The next five times of a timed one, without jitter."""

    made_here: bool = True
    """Whether Holdfast made it; Temporal's schedules of others are told of too."""

    content_hash: str | None = None
    """Of all that it was made of."""


@dataclass(frozen=True, kw_only=True)
class SyncReport(Jsonable):
    """What `sync` has done, by the names of triggers."""

    created: Sequence[str] = ()
    updated: Sequence[str] = ()
    unchanged: Sequence[str] = ()
    undeclared: Sequence[str] = ()
    """Declared once by this code, and no more: they go on until they are pruned."""

    pruned: Sequence[str] = ()
    refused: Sequence[str] = ()
    """Declared here, and already made by a call or by other code: they are left as they are."""
