"""The supervisor keeps an indexer up: it is no user, comes back when it dies, and ends with the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.engine.embedded.conftest import processes, until

from holdfast import Client, Worker, step, workflow
from holdfast.engine.embedded import attach, indexing, stop


@step
async def double_indexed(number: int) -> int:
    return 2 * number


@workflow
async def doubling_indexed(number: int) -> int:
    return await double_indexed(number)


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_INDEXER", "auto")


def indexers(home: Path) -> list[int]:
    return processes(f"holdfast.indexer --home {home}".replace(" ", "\0"))


def stored(home: Path, run: str) -> str | None:
    if not (home / "history.db").exists():
        return None
    with closing(sqlite3.connect(home / "history.db")) as connection:
        try:
            found = connection.execute("SELECT state FROM runs WHERE id = ?", (run,)).fetchone()
        except sqlite3.OperationalError:  # its tables are being made
            return None
    return None if found is None else str(found[0])


async def test_it_stores_runs_comes_back_and_ends_with_the_server(home: Path) -> None:
    async with Client.embedded(home) as client, Worker(client, [doubling_indexed]):
        assert await client.events.list() == [], "the first use of the history waits for the indexer"
        await client.run(doubling_indexed, 2, id="d-1")
        await until(lambda: stored(home, "d-1") == "completed", 60)
        [first] = indexers(home)
        if hasattr(os, "getpriority"):
            assert os.getpriority(os.PRIO_PROCESS, first) >= 10
        os.kill(first, signal.SIGKILL)
        await until(lambda: indexers(home) not in ([], [first]), 60)
        await client.run(doubling_indexed, 2, id="d-2")
        await until(lambda: stored(home, "d-2") == "completed", 60)
        assert len(indexers(home)) == 1
    await stop(home)
    assert indexers(home) == []
    assert "Traceback" not in (home / "indexer.log").read_text()


async def test_it_keeps_no_server_up(home: Path) -> None:
    async with await attach(home, linger=timedelta()):
        await until(lambda: indexers(home), 60)
    await until(lambda: not processes(str(home)), 20)


async def test_it_does_not_outlive_a_supervisor_that_is_killed(home: Path) -> None:
    place = await attach(home, linger=timedelta())
    try:
        await until(lambda: stored(home, "") is None and (home / "history.db").exists(), 60)
        [first] = indexers(home)
        os.kill(place.info.supervisor_pid, signal.SIGKILL)
        await until(lambda: first not in indexers(home), 20)
    finally:
        await place.close()


async def test_it_is_off_where_it_is_switched_off_and_in_memory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await attach(None) as memory:
        monkeypatch.setenv("HOLDFAST_INDEXER", "off")
        async with await attach(home, linger=timedelta()):
            await asyncio.sleep(indexing.START_SECONDS + 1)
            assert indexers(home) == []
            assert indexers(memory.info.blobs.parent) == []
