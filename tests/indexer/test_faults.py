"""Indexers that are killed, or share the work; and databases and servers that are away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from temporalio.client import Client
from tests.engine.support import eventually
from tests.indexer.flows import contents, rows, start
from tests.store.made import START, made

from holdfast.indexer import Indexer, lag_of
from holdfast.indexer.leases import SHARDS, Leases
from holdfast.indexer.progress import BEGINNING, load_cursor, save_cursor
from holdfast.indexer.round import LOOK_AGAIN
from holdfast.store.database import Database
from holdfast.store.maintenance import reset_database
from holdfast.store.retention import Retention, prune
from holdfast.store.schema import executions, leases, run_details, runs
from holdfast.store.writer import write_runs

SEEDS = 20 if os.environ.get("FAULTS") == "thorough" else 3


@pytest.fixture
def spawn(temporal_address: str, where: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts an indexer process and waits until it works."""
    started: list[subprocess.Popen[str]] = []

    def one() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.indexer.host", temporal_address, where]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield one
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@asynccontextmanager
async def working(indexer: Indexer) -> AsyncGenerator[Indexer]:
    task = asyncio.create_task(indexer.run())
    try:
        yield indexer
    finally:
        task.cancel()
        await asyncio.wait([task])


async def some_runs(temporal: Client, queue: str, chance: random.Random, count: int) -> list[str]:
    """Runs of all kinds, ended."""
    ways = [(1,), (7,), (-1,), (1, "again2"), (1, "child")]
    handles = [await start(temporal, queue, *chance.choice(ways)) for _ in range(count)]
    for handle in handles:
        with contextlib.suppress(Exception):  # some are to fail
            await handle.result()
    return [handle.id for handle in handles]


def stored(database: Database, wanted: list[str], state: tuple[str, ...] = ("completed", "failed")) -> bool:
    found = {row["id"]: row["state"] for row in rows(database, runs)}
    return all(found.get(name) in state for name in wanted)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_after_kills_the_store_equals_one_made_anew(
    seed: int,
    temporal: Client,
    queue: str,
    database: Database,
    spawn: Callable[[], subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    chance = random.Random(seed)
    wanted: list[str] = []
    for _ in range(3):
        process = await asyncio.to_thread(spawn)
        wanted += await some_runs(temporal, queue, chance, 8)
        await asyncio.sleep(chance.uniform(0, 2.5))
        process.kill()
        process.wait()
    again = Indexer(temporal, database)

    async def complete() -> bool:
        await again.catch_up()
        return stored(database, wanted)

    await eventually(complete, 30)
    anew = Database.open(tmp_path / "anew.db")
    try:
        await Indexer(temporal, anew).catch_up()
        one, other = contents(database), contents(anew)
        for name in one:
            assert (one[name] - other[name], other[name] - one[name]) == (Counter(), Counter()), name
    finally:
        anew.close()


async def test_rebuilding_changes_nothing(temporal: Client, queue: str, database: Database) -> None:
    wanted = await some_runs(temporal, queue, random.Random(5), 8)
    indexer = Indexer(temporal, database)

    async def complete() -> bool:
        await indexer.catch_up()
        return stored(database, wanted)

    await eventually(complete, 30)
    before = await settled(temporal, database)
    await indexer.rebuild()
    assert contents(database) == before


async def test_a_rebuild_mends_what_temporal_has_and_keeps_what_only_the_store_has(
    temporal: Client, queue: str, database: Database
) -> None:
    write_runs(database, [made("only-here"), made("pruned", started=START - timedelta(days=9))])
    assert prune(database, now=START + Retention().runs).runs == 1
    (wanted,) = await some_runs(temporal, queue, random.Random(1), 1)
    indexer = Indexer(temporal, database)

    async def complete() -> bool:
        await indexer.catch_up()
        return stored(database, [wanted])

    await eventually(complete, 30)
    before = await settled(temporal, database)
    (row,) = rows(database, runs, id=wanted)
    with database.write() as connection:
        connection.execute(
            update(run_details).where(run_details.c.run_key == row["key"]).values(search="wrong")
        )
    assert contents(database) != before
    await Indexer(temporal, database).rebuild()
    assert contents(database) == before, "the figures of the run that was deleted too"
    assert len(rows(database, runs, id="only-here")) == 1


async def test_a_round_that_a_reset_overtakes_does_not_say_what_is_read(database: Database) -> None:
    begun = load_cursor(database, [1], "default")
    await asyncio.to_thread(reset_database, database)
    save_cursor(database, [1], "default", replace(begun, closed=START))
    assert load_cursor(database, [1], "default").closed == BEGINNING
    assert lag_of(database) is None


async def settled(temporal: Client, database: Database) -> dict[str, Counter[str]]:
    """What is stored once nothing more appears, the parts of chains and the children included."""
    seen = contents(database)

    async def same() -> bool:
        nonlocal seen
        await asyncio.sleep(1)
        await Indexer(temporal, database).catch_up()
        before, seen = seen, contents(database)
        return seen == before

    await eventually(same, 30)
    return seen


async def test_rebuilding_beside_a_running_indexer_misses_nothing(
    temporal: Client, queue: str, open_database: Callable[[], Database]
) -> None:
    database = open_database()
    wanted = await some_runs(temporal, queue, random.Random(6), 8)
    async with working(Indexer(temporal, open_database())):

        async def complete() -> bool:
            return stored(database, wanted)

        await eventually(complete, 30)
        before = await settled(temporal, database)
        for _ in range(3):
            await Indexer(temporal, database).rebuild()
            await asyncio.sleep(0.1)
    assert contents(database) == before


async def test_two_indexers_share_the_work(
    temporal: Client, queue: str, open_database: Callable[[], Database]
) -> None:
    first, second = open_database(), open_database()
    async with working(Indexer(temporal, first)) as one, working(Indexer(temporal, second)) as other:

        async def shared() -> bool:
            holders = [row["holder"] for row in rows(first, leases) if "shard" in row["name"]]
            return sorted(map(holders.count, set(holders))) == [SHARDS // 2] * 2

        await eventually(shared)

        async def settled() -> bool:
            before = one.counts.rounds, other.counts.rounds
            lag = max(one.lag or timedelta(days=1), other.lag or timedelta(days=1))
            return min(before) > 1 and lag < timedelta(seconds=2)

        await eventually(settled, 30)
        before = one.counts.stored, other.counts.stored
        wanted = await some_runs(temporal, queue, random.Random(3), 24)

        async def complete() -> bool:
            return stored(first, wanted)

        await eventually(complete, 30)
        gained = one.counts.stored - before[0], other.counts.stored - before[1]
        assert min(gained) > 0


async def test_what_a_killed_indexer_held_goes_on_elsewhere(
    temporal: Client,
    queue: str,
    database: Database,
    spawn: Callable[[], subprocess.Popen[str]],
) -> None:
    process = await asyncio.to_thread(spawn)
    async with working(Indexer(temporal, database)):

        async def shared() -> bool:
            holders = {row["holder"] for row in rows(database, leases) if "shard" in row["name"]}
            return len(holders) == 2

        await eventually(shared)
        process.kill()
        process.wait()
        wanted = await some_runs(temporal, queue, random.Random(4), 8)

        async def complete() -> bool:
            return stored(database, wanted)

        await eventually(complete, 30)


def test_a_lease_has_one_holder_at_a_time(database: Database) -> None:
    one, other = Leases(database), Leases(database)
    assert len(one.renew()) == SHARDS
    assert other.renew() == frozenset(), "all of them are held"
    kept = one.renew()
    assert len(kept) == SHARDS // 2
    taken = other.renew()
    assert kept | taken == frozenset(range(SHARDS))
    assert not kept & taken
    one.release()
    assert other.renew() == frozenset(range(SHARDS))


async def test_a_locked_database_is_waited_for(temporal: Client, queue: str, tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    database = Database.open(file)
    try:
        async with working(Indexer(temporal, database)) as indexer:

            async def begun() -> bool:
                return indexer.counts.rounds > 0

            await eventually(begun)
            locker = sqlite3.connect(file, isolation_level=None)
            locker.execute("BEGIN IMMEDIATE")
            wanted = await some_runs(temporal, queue, random.Random(2), 5)
            await asyncio.sleep(15 if os.environ.get("FAULTS") == "thorough" else 3)
            assert not stored(database, wanted)
            locker.execute("ROLLBACK")
            locker.close()

            async def complete() -> bool:
                return stored(database, wanted)

            await eventually(complete, 30)
    finally:
        database.close()


async def test_where_little_else_is_to_do_all_open_runs_are_looked_at_and_the_lag_tells_of_those_that_wait(
    temporal: Client, queue: str, database: Database
) -> None:
    handles = await asyncio.gather(*(start(temporal, queue, 1, "wait") for _ in range(LOOK_AGAIN + 5)))
    indexer = Indexer(temporal, database)

    async def known() -> bool:
        await indexer.catch_up()
        return stored(database, [handle.id for handle in handles], ("waiting",))

    await eventually(known, 30)
    with database.write() as connection:
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(executions).where(executions.c.closed.is_(None)).values(observed=long_ago))
    late = lag_of(database)
    assert late is not None
    assert timedelta(minutes=59) < late < timedelta(minutes=61)
    before = indexer.counts.rounds, indexer.counts.looked_again
    await indexer.catch_up()
    assert indexer.counts.rounds == before[0] + 1
    assert indexer.counts.looked_again >= before[1] + len(handles)
    late = lag_of(database)
    assert late is not None
    assert late < timedelta(minutes=1)
    await asyncio.gather(*(handle.terminate() for handle in handles))


async def test_lag_grows_while_nothing_is_read(temporal: Client, tmp_path: Path) -> None:
    database = Database.open(tmp_path / "history.db")
    try:
        indexer = Indexer(temporal, database)
        assert indexer.lag is None
        begun = datetime.now(UTC)
        await indexer.catch_up()
        first = indexer.lag
        await asyncio.sleep(0.2)
        assert first is not None
        assert indexer.lag is not None
        assert first < indexer.lag <= datetime.now(UTC) - begun
    finally:
        database.close()
