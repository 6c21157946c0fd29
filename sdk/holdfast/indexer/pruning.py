"""Deletes what is past its time once an hour, by one of all indexers of a database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, ParamSpec, TypeVar

from sqlalchemy import delete, select

from holdfast.errors import HoldfastError
from holdfast.store.database import Database, shared_now
from holdfast.store.retention import BATCH, Retention, prune
from holdfast.store.schema import leases
from holdfast.store.upsert import upsert

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("holdfast.indexer")

EVERY: Final = timedelta(hours=1)
LOOK_EVERY: Final = timedelta(minutes=1)
LEASE: Final = "indexer/prune"

_BATCHES: Final = 4
"""So many are deleted without looking whether the indexer is to end."""


async def keep_pruned(
    database: Database,
    kept: Retention,
    *,
    every: timedelta = EVERY,
    look_every: timedelta = LOOK_EVERY,
) -> None:
    """Prune once in a while until cancelled. Where the database is away, it tries again later.

    Args:
        database: The store.
        kept: How long what is kept.
        every: How often, by whichever indexer.
        look_every: How often to see whether it is time.
    """
    while True:
        try:
            if (now := await _to_its_end(_take, database, every)) is not None:
                await _prune(database, kept, now)
        except HoldfastError as error:
            log.warning("nothing is deleted from the history at the moment: %s", error)
        except Exception:
            log.exception("deleting from the history failed")
        await asyncio.sleep(look_every.total_seconds())


async def _prune(database: Database, kept: Retention, now: datetime) -> None:
    count = 0
    try:
        while True:
            gone = await _to_its_end(prune, database, kept, now=now, max_batches=_BATCHES)
            count += gone.runs
            if gone.runs < _BATCHES * BATCH:
                break
    except HoldfastError:
        await _to_its_end(_give_back, database)  # which fails as well if the database is away for long
        raise
    if count:
        log.info(
            "%d runs were deleted from the history: they ended before %s", count, now - (kept.runs or EVERY)
        )


async def _to_its_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in a thread, and wait for its end also when cancelled: the database is closed after that."""
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def _take(database: Database, every: timedelta) -> datetime | None:
    """The time, if it is this one's turn; then it is nobody's until `every` has passed."""
    with database.write() as connection:
        now = shared_now(connection)
        until = connection.execute(select(leases.c.expires).where(leases.c.name == LEASE)).scalar()
        # A clock that was wrong must not keep everything for ever.
        if until is not None and now < until <= now + every:
            return None
        upsert(connection, leases, [{"name": LEASE, "holder": "", "expires": now + every, "term": 1}])
        return now


def _give_back(database: Database) -> None:
    with database.write() as connection:
        connection.execute(delete(leases).where(leases.c.name == LEASE))
