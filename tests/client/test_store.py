"""A client reaches the history that an indexer keeps, or says what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.engine.support import eventually

from holdfast import Client, InvalidConfiguration, Unavailable, Worker, step, workflow
from holdfast.indexer import Indexer
from holdfast.indexer.leases import Leases
from holdfast.store.database import Database
from holdfast.store.filters import RunFilter
from holdfast.store.maintenance import reset_database
from holdfast.store.runs import count_runs
from holdfast.store.schema import cursors, leases


@step
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubling(number: int) -> int:
    return await double(number)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def test_without_an_indexer_it_names_the_command(client: Client) -> None:
    with pytest.raises(Unavailable, match="holdfast indexer"):
        await client.store.read(count_runs, RunFilter())
    assert await client.store.lag() is None


async def test_while_an_indexer_reads_for_the_first_time_what_is_there_is_read(client: Client) -> None:
    database: Database = await client.store.database()
    at_work = Leases(database)
    at_work.renew()
    assert await client.store.read(count_runs, RunFilter()) == 0
    assert await client.store.lag() is None, "which is how one sees that it is not all"
    at_work.release()
    with pytest.raises(Unavailable, match="holdfast indexer"):
        await client.store.read(count_runs, RunFilter())


async def test_with_an_indexer_it_is_read(client: Client) -> None:
    async with Worker(client, [doubling]):
        await client.run(doubling, 2)
    await Indexer(client.temporal, await client.store.database()).catch_up()
    assert await client.store.read(count_runs, RunFilter()) == 1
    assert await client.store.lag() is not None


async def test_the_history_of_another_namespace_is_refused(client: Client) -> None:
    database: Database = await client.store.database()
    await Indexer(client.temporal, database).catch_up()
    with database.write() as connection:
        connection.execute(
            cursors.update().where(cursors.c.name == "indexer/namespace").values(value="another")
        )
    with pytest.raises(InvalidConfiguration, match="'another'"):
        await client.store.read(count_runs, RunFilter())


async def test_a_database_is_that_of_one_server_though_the_names_of_namespaces_are_the_same(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", f"sqlite:///{tmp_path}/shared.db")
    database = await client.store.database()
    await Indexer(client.temporal, database).catch_up()
    async with Client.embedded(tmp_path / "other") as other:
        assert other.namespace == client.namespace
        with pytest.raises(InvalidConfiguration, match="holdfast db reset"):
            await other.store.read(count_runs, RunFilter())
        indexer = Indexer(other.temporal, database)
        for work in (indexer.catch_up, indexer.rebuild):
            with pytest.raises(InvalidConfiguration, match="holdfast db reset"):
                await work()
        running = asyncio.create_task(indexer.run())

        async def refused() -> bool:
            return indexer.problem is not None

        await eventually(refused)
        running.cancel()
        await asyncio.wait([running])
        with database.read() as connection:
            assert connection.execute(select(leases)).all() == []
        assert await client.store.read(count_runs, RunFilter()) == 0
        reset_database(database)
        await indexer.catch_up()
        assert await other.store.read(count_runs, RunFilter()) == 0
        with pytest.raises(InvalidConfiguration, match="another Temporal server"):
            await Indexer(client.temporal, database).catch_up()


async def test_a_server_in_memory_has_none() -> None:
    async with Client.embedded(None) as client:
        with pytest.raises(Unavailable, match="in memory"):
            await client.store.read(count_runs, RunFilter())


async def test_it_is_opened_again_after_a_close(client: Client) -> None:
    first = await client.store.database()
    client.store.close()
    assert await client.store.database() is not first
