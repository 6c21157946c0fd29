"""Forgets runs that were closed long ago, in small transactions, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from holdfast.settings import Retention as Retention
from holdfast.store.columns import instant, microseconds
from holdfast.store.database import Database
from holdfast.store.events import prune_events
from holdfast.store.rollup import BLOCK
from holdfast.store.schema import (
    approvals,
    attempts,
    audit_log,
    cursors,
    dead_letters,
    events,
    executions,
    histograms,
    idempotency_keys,
    rollups,
    run_details,
    runs,
    step_logs,
    steps,
    unreadable,
)
from holdfast.store.upsert import upsert
from holdfast.store.writer import PRUNED

BATCH: Final = 500
"""How many runs or rows one transaction deletes."""

_FREED_PAGES: Final = 2000
"""How many pages SQLite gives back to the disk in one go."""

_CHILDREN: Final = (steps, attempts, approvals, executions, run_details)


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was deleted."""

    runs: int = 0
    events: int = 0
    others: int = 0


def prune(
    database: Database,
    retention: Retention | None = None,
    *,
    now: datetime | None = None,
    max_batches: int | None = None,
) -> Pruned:
    """Delete what is past its time.

    Args:
        database: Where.
        retention: How long what is kept. Default: see `Retention`.
        now: The time, for tests.
        max_batches: Stop after so many batches of 500 runs; the next call goes on. Default: all.

    Raises:
        Unavailable: The database does not answer; what was deleted stays so.
    """
    kept, now = retention or Retention(), now or datetime.now(UTC)
    before = None if kept.runs is None else now - kept.runs
    count = batches = 0
    while before is not None and (max_batches is None or batches < max_batches):
        with database.write() as connection:
            _remember(connection, before, now)
            keys = _old_runs(connection, before)
            for table in _CHILDREN:
                connection.execute(delete(table).where(table.c.run_key.in_(keys)))
            connection.execute(delete(runs).where(runs.c.key.in_(keys)))
        count += len(keys)
        batches += 1
        if len(keys) < BATCH:
            break
    gone = 0 if kept.events is None else prune_events(database, now - kept.events)
    others = _delete(database, idempotency_keys, idempotency_keys.c.expires < now)
    if before is not None:
        others += _delete_old_executions(database, before)
        others += _delete(database, unreadable, unreadable.c.last_seen < before)
        of_a_run = select(runs.c.key).where(runs.c.id == step_logs.c.run_id).exists()
        others += _delete(database, step_logs, (step_logs.c.at < before) & ~of_a_run)
    if kept.letters is not None:
        settled = dead_letters.c.status.in_(["resolved", "abandoned"])
        others += _delete(database, dead_letters, settled & (dead_letters.c.updated < now - kept.letters))
    if kept.actions is not None:
        others += _delete(database, audit_log, audit_log.c.at < now - kept.actions)
    first = microseconds(now - kept.figures)
    others += _delete(database, rollups, rollups.c.start < first)
    others += _delete(database, histograms, histograms.c.start <= first - BLOCK)
    _give_back(database)
    return Pruned(runs=count, events=gone, others=others)


def count_old(
    database: Database, retention: Retention | None = None, *, now: datetime | None = None
) -> Pruned:
    """What `prune` would delete of runs and events; `others` is 0, as it is not counted.

    Args:
        database: Where.
        retention: How long what is kept. Default: see `Retention`.
        now: The time, for tests.

    Raises:
        Unavailable: The database does not answer.
    """
    kept, now = retention or Retention(), now or datetime.now(UTC)
    with database.read() as connection:

        def count(column: ColumnElement[datetime], time: timedelta | None) -> int:
            if time is None:
                return 0
            return connection.execute(select(func.count()).where(column < now - time)).scalar_one()

        return Pruned(runs=count(runs.c.closed, kept.runs), events=count(events.c.at, kept.events))


def pruned_before(database: Database) -> datetime | None:
    """The time before which closed runs are not kept; `None` before the first pruning."""
    with database.read() as connection:
        value = connection.execute(select(cursors.c.value).where(cursors.c.name == PRUNED)).scalar()
    return None if value is None else instant(value)


def _remember(connection: Connection, before: datetime, now: datetime) -> None:
    """Otherwise the indexer would bring the runs back, and they would be counted twice."""
    known = connection.execute(select(cursors.c.value).where(cursors.c.name == PRUNED)).scalar() or 0
    value = max(known, microseconds(before))
    upsert(connection, cursors, [{"name": PRUNED, "value": value, "updated": now}])


def _old_runs(connection: Connection, before: datetime) -> Sequence[int]:
    query = select(runs.c.key).where(runs.c.closed.is_not(None), runs.c.closed < before)
    return list(connection.execute(query.order_by(runs.c.closed).limit(BATCH)).scalars())


def _delete_old_executions(database: Database, before: datetime) -> int:
    """Steps of what an open run did long ago: a run that continues as new for ever would keep them for ever. Its
    executions stay, and with them the run's sums."""
    count = 0
    while True:
        old = (
            select(executions.c.run_key, executions.c.key)
            .where(executions.c.closed < before)
            .where(select(steps.c.position).where(_of_execution(steps)).exists())
            .limit(BATCH)
        )
        with database.write() as connection:
            rows = connection.execute(old).all()
            for run_key, key in rows:
                for table in (attempts, steps):
                    place = (table.c.run_key == run_key) & (table.c.execution_key == key)
                    count += connection.execute(delete(table).where(place)).rowcount
        if len(rows) < BATCH:
            return count


def _of_execution(table: Table) -> ColumnElement[bool]:
    of_run: ColumnElement[bool] = table.c.run_key == executions.c.run_key
    return of_run & (table.c.execution_key == executions.c.key)


def _delete(database: Database, table: Table, condition: ColumnElement[bool]) -> int:
    keys = list(table.primary_key)
    count = 0
    while True:
        with database.write() as connection:
            rows = connection.execute(select(*keys).where(condition).limit(BATCH)).all()
            for row in rows:
                same = [key == value for key, value in zip(keys, row, strict=True)]
                connection.execute(delete(table).where(*same))
        count += len(rows)
        if len(rows) < BATCH:
            return count


def _give_back(database: Database) -> None:
    """Return free pages of the SQLite file to the disk, a few at a time; PostgreSQL does it by itself."""
    if not database.is_sqlite:
        return
    with database.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        free = before = raw.execute("PRAGMA freelist_count").fetchone()[0]
        while free:
            raw.execute(f"PRAGMA incremental_vacuum({_FREED_PAGES})").fetchall()
            free = raw.execute("PRAGMA freelist_count").fetchone()[0]
            if free >= before:
                break  # a file that was made otherwise, as from a dump, keeps its free pages for what comes
            before = free
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
