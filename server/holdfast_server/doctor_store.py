"""Whether the history of runs is kept, how far behind it is, and what could not be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from holdfast.engine import embedded
from holdfast.errors import HoldfastError, InvalidConfiguration
from holdfast.settings import Settings
from holdfast_server.finding import Finding, Verdict

if TYPE_CHECKING:
    from holdfast.indexer.health import Health

_LATE = timedelta(seconds=30)
_TOLD_OF_LOST = timedelta(days=30)


async def examine_store(settings: Settings, *, cluster: bool = False) -> AsyncIterator[Finding]:
    """Check the database of the history, and its indexer.

    Args:
        settings: What the environment says.
        cluster: Whether the runs are those of a cluster, which has no supervisor to index them.
    """
    missing = [name for name in ("sqlalchemy", "alembic") if find_spec(name) is None]
    if missing:
        found = f"no history of runs is kept: {' and '.join(missing)} missing"
        advice = "pip install 'holdfast[store]', if you want months of history, search and figures"
        yield Finding(check="store", verdict=Verdict.WARN, found=found, advice=advice)
        return
    from holdfast.store.database import FILE_NAME

    file = settings.home / FILE_NAME
    if settings.database_url is None and not file.exists():
        yield Finding(check="store", verdict=Verdict.OK, found=f"{file}, not yet made: nothing was indexed")
        return
    try:
        name, health = await asyncio.to_thread(_look, settings)
    except HoldfastError as error:
        advice = (
            "see above, or name another database with HOLDFAST_DATABASE_URL"
            if isinstance(error, InvalidConfiguration)
            else "check that the database runs and can be reached from here; runs go on without it"
        )
        yield Finding(check="store", verdict=Verdict.FAIL, found=error.message, advice=advice)
        return
    found = f"{name}, tables of revision {health.revision}, {health.run_count} runs"
    yield Finding(check="store", verdict=Verdict.OK, found=found)
    yield _indexer(health, settings, cluster=cluster)
    if health.unreadable_count:
        found = f"{health.unreadable_count} executions could not be read, such as {'; '.join(health.reasons)}"
        advice = "they are tried again, at last once an hour; a codec's keys, or an upgrade, may be missing"
        yield Finding(check="unread", verdict=Verdict.WARN, found=found, advice=advice)
    lost = health.lost
    if lost and datetime.now(UTC) - lost.noticed < _TOLD_OF_LOST:
        found = (
            f"events after cursor {lost.after} up to {lost.until} were deleted before triggers saw them, noticed on "
            f"{lost.noticed:%Y-%m-%d at %H:%M} UTC: the runs that they would have started were not started"
        )
        advice = (
            "look at what happened then, and start what is missing with `holdfast triggers fire`; let an indexer "
            "run all the time, or keep events for longer (HOLDFAST_EVENT_RETENTION_DAYS)"
        )
        yield Finding(check="triggers", verdict=Verdict.WARN, found=found, advice=advice)


def _look(settings: Settings) -> tuple[str, Health]:
    from holdfast.indexer.health import health_of
    from holdfast.store.database import Database

    database = Database.of(settings)
    try:
        return database.name, health_of(database)
    finally:
        database.close()


def _indexer(health: Health, settings: Settings, *, cluster: bool) -> Finding:
    behind = "nothing was ever indexed" if health.lag is None else f"{_told(health.lag)} behind"
    found = f"{health.indexer_count} at work, {behind}"
    if health.indexer_count and health.lag is not None and health.lag < _LATE:
        return Finding(check="indexer", verdict=Verdict.OK, found=found)
    if health.indexer_count and health.listed is not None and health.listed < _LATE:
        advice = (
            "open runs are seen late, as more are open than it comes to: start another `holdfast indexer`"
        )
        return Finding(check="indexer", verdict=Verdict.WARN, found=found, advice=advice)
    if health.indexer_count:
        advice = (
            f"look at what it says: `holdfast indexer`, or {settings.home / 'indexer.log'} of a home's own"
        )
        return Finding(check="indexer", verdict=Verdict.WARN, found=found, advice=advice)
    if not cluster and settings.indexer == "auto":
        if embedded.read_info(settings.home) is None:
            return Finding(check="indexer", verdict=Verdict.OK, found=f"{found}; the server starts one")
        advice = (
            f"the server should run one: see {settings.home / 'indexer.log'}, or start `holdfast indexer`"
        )
    else:
        advice = "start `holdfast indexer`, and keep it running beside the workers"
    return Finding(check="indexer", verdict=Verdict.WARN, found=found, advice=advice)


def _told(lag: timedelta) -> str:
    return f"{lag.total_seconds():.1f} s" if lag < timedelta(minutes=2) else str(lag).partition(".")[0]
