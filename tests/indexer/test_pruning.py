"""Once an hour, one of all indexers deletes what is past its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from temporalio.client import Client
from tests.engine.support import eventually
from tests.indexer.flows import rows
from tests.store.made import made

from holdfast import Unavailable
from holdfast.indexer import Indexer, pruning
from holdfast.indexer.pruning import LEASE, keep_pruned
from holdfast.store.database import Database
from holdfast.store.retention import Pruned, Retention, prune, pruned_before
from holdfast.store.schema import leases, runs
from holdfast.store.writer import write_runs

_DAY = timedelta(days=1)
_SOON = timedelta(seconds=0.01)


def old_and_new(database: Database) -> None:
    now = datetime.now(UTC)
    write_runs(database, [made("old", started=now - 100 * _DAY), made("new", started=now - 80 * _DAY)])


def ids(database: Database) -> set[str]:
    return {row["id"] for row in rows(database, runs)}


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_an_indexer_deletes_by_itself(temporal: Client, database: Database) -> None:
    old_and_new(database)
    working = asyncio.create_task(Indexer(temporal, database).run())
    try:

        async def gone() -> bool:
            return "old" not in ids(database)

        await eventually(gone, 30)
        assert "new" in ids(database)
        before = pruned_before(database)
        assert before is not None
        assert abs(datetime.now(UTC) - 90 * _DAY - before) < timedelta(minutes=5)
    finally:
        await stop(working)


async def test_one_of_several_does_it_and_once_an_hour(open_database: Callable[[], Database]) -> None:
    databases = [open_database() for _ in range(3)]
    first = databases[0]
    old_and_new(first)
    tasks = [asyncio.create_task(keep_pruned(each, Retention(), look_every=_SOON)) for each in databases]
    try:

        async def gone() -> bool:
            return ids(first) == {"new"}

        await eventually(gone)
        turn = rows(first, leases, name=LEASE)
        old_and_new(first)  # refused, since such runs were deleted
        assert ids(first) == {"new"}
        await asyncio.sleep(0.3)
        assert rows(first, leases, name=LEASE) == turn, "nobody took another turn"
        # As if an hour had passed, and retention were shorter.
        with first.write() as connection:
            past = datetime.now(UTC) - timedelta(seconds=1)
            connection.execute(update(leases).where(leases.c.name == LEASE).values(expires=past))

        async def again() -> bool:
            return rows(first, leases, name=LEASE) != turn

        await eventually(again)
    finally:
        await stop(*tasks)


async def test_without_end_nothing_is_deleted(database: Database) -> None:
    old_and_new(database)
    task = asyncio.create_task(keep_pruned(database, Retention(runs=None), look_every=_SOON))
    try:

        async def taken() -> bool:
            return bool(rows(database, leases, name=LEASE))

        await eventually(taken)
        await asyncio.sleep(0.2)
        assert ids(database) == {"old", "new"}
        assert pruned_before(database) is None
    finally:
        await stop(task)


async def test_a_turn_that_a_wrong_clock_took_is_not_for_ever(database: Database) -> None:
    old_and_new(database)
    with database.write() as connection:
        far = datetime.now(UTC) + 400 * _DAY
        connection.execute(leases.insert(), {"name": LEASE, "holder": "", "expires": far, "term": 1})
    task = asyncio.create_task(keep_pruned(database, Retention(), look_every=_SOON))
    try:

        async def gone() -> bool:
            return ids(database) == {"new"}

        await eventually(gone)
    finally:
        await stop(task)


async def test_what_failed_is_tried_again_before_the_hour(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_and_new(database)
    failures = iter([Unavailable("the database is away")])

    def away_at_first(*given: Any, **options: Any) -> Pruned:
        for error in failures:
            raise error
        return prune(*given, **options)

    monkeypatch.setattr(pruning, "prune", away_at_first)
    task = asyncio.create_task(keep_pruned(database, Retention(), look_every=_SOON))
    try:

        async def gone() -> bool:
            return ids(database) == {"new"}

        await eventually(gone)
    finally:
        await stop(task)
