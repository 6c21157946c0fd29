"""How the history of runs is, for those who look after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from holdfast.indexer.leases import members
from holdfast.indexer.progress import lag_of, listed_ago
from holdfast.store.database import Database
from holdfast.store.migrate import revision
from holdfast.store.schema import runs, unreadable
from holdfast.store.triggers import LostEvents, lost_events


@dataclass(frozen=True, kw_only=True)
class Health:
    """What a database says of itself."""

    revision: str | None
    """Of its tables."""

    run_count: int
    indexer_count: int
    """How many are at work, in all processes."""

    lag: timedelta | None
    """`None`: nobody has ever indexed."""

    listed: timedelta | None
    """The part of it that is of lists. What `lag` has more, open runs wait to be looked at again."""

    unreadable_count: int
    """Executions whose history could not be read."""

    reasons: Sequence[str]
    """Why, the latest three."""

    lost: LostEvents | None
    """Events that triggers did not see."""


def health_of(database: Database) -> Health:
    """Look at a database.

    Raises:
        Unavailable: It does not answer.
    """
    lag, listed = lag_of(database), listed_ago(database)
    with database.read() as connection:
        latest = select(unreadable.c.run_id, unreadable.c.reason).order_by(unreadable.c.last_seen.desc())
        return Health(
            revision=revision(connection),
            run_count=connection.execute(select(func.count()).select_from(runs)).scalar_one(),
            indexer_count=members(connection),
            lag=lag,
            listed=listed,
            unreadable_count=connection.execute(select(func.count()).select_from(unreadable)).scalar_one(),
            reasons=[f"{row.run_id}: {row.reason}" for row in connection.execute(latest.limit(3))],
            lost=lost_events(connection),
        )
