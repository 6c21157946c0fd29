"""What steps log stays with their runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.engine.support import until
from tests.store.conftest import database, open_database, postgres, where

from holdfast import Client, RetryPolicy, Worker, step, step_info, workflow
from holdfast.client.logs import logs_of
from holdfast.engine.telemetry.step_logs import MAX_BYTES, MAX_LINES
from holdfast.store.database import Database
from holdfast.store.retention import prune
from holdfast.store.step_logs import Attempt, Chunk, add_step_logs, read_step_logs

__all__ = ["database", "open_database", "postgres", "where"]

log = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def _level() -> Generator[None]:
    before = log.level
    log.setLevel(logging.DEBUG)
    yield
    log.setLevel(before)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncGenerator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as client:
        yield client


@step(retry=RetryPolicy(max_attempts=2, first_delay=timedelta(milliseconds=20)))
def pack_order(order: str) -> str:
    log.debug("not kept")
    log.info("packing %s", order)
    if step_info().attempt == 1:
        raise ValueError("torn")
    return order


@step(local=True)
async def label(order: str) -> str:
    log.warning("label \x00 for %s 🎉", order)
    return order


@step
async def talk(count: int, size: int) -> int:
    for number in range(count):
        log.info("%s", f"{number} " + "x" * size)
    return count


@workflow
async def packs(order: str) -> str:
    log.info("a workflow's message is not a step's")
    return await label(await pack_order(order))


@workflow
async def talks(count: int, size: int) -> int:
    return await talk(count, size)


async def test_messages_of_every_attempt_are_there_when_the_worker_is_gone(client: Client) -> None:
    async with Worker(client, [packs]):
        await client.run(packs, "o1", id="order-1")
        await client.run(packs, "o2", id="order-2")
    log.info("after the end")
    lines = await client.get("order-1").logs()
    told = [(line.step, line.attempt, line.level, line.message.splitlines()[0]) for line in lines]
    assert told == [
        ("pack_order", 1, "INFO", "packing o1"),
        ("pack_order", 1, "WARNING", "step pack_order of run order-1 failed (attempt 1): ValueError: torn"),
        ("pack_order", 2, "INFO", "packing o1"),
        ("label", 1, "WARNING", "label \x00 for o1 🎉"),
    ]
    assert "Traceback" in lines[1].message
    assert {line.logger for line in lines} == {"shop", "holdfast.step"}
    assert all(line.cut_count == 0 and "@" in line.worker for line in lines)
    only = await client.get("order-1").logs(step="label")
    assert [line.step for line in only] == ["label"]
    assert await client.get("no-such-run").logs() == []


async def test_of_much_output_the_end_is_kept_and_the_rest_counted(client: Client) -> None:
    async with Worker(client, [talks]):
        await client.run(talks, 5000, 10, id="many")
        await client.run(talks, 60, 100_000, id="wide")
    many = await client.get("many").logs()
    assert many[-1].message.startswith("4999 ")
    assert MAX_LINES <= len(many) <= 2 * MAX_LINES
    assert many[0].cut_count + len(many) == 5000
    wide = await client.get("wide").logs()
    assert wide[-1].message.startswith("59 ")
    assert 0 < sum(len(line.message) for line in wide) <= 2 * MAX_BYTES
    assert wide[0].cut_count + len(wide) == 60


async def test_reading_goes_on_where_it_was(client: Client) -> None:
    async with Worker(client, [packs]):
        await client.run(packs, "o1", id="order-1")
    first, cursor = await logs_of(client, "order-1")
    again, same = await logs_of(client, "order-1", after=cursor)
    assert first
    assert (again, same) == ([], cursor)


async def test_a_database_that_fails_stops_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", f"sqlite:///{folder}")  # a folder is no database
    async with Client.embedded(None) as client, Worker(client, [packs], step_logs=True):
        assert await client.run(packs, "o1") == "o1"
        await until(lambda: "step logs are not kept" in caplog.text, 30)


async def test_a_worker_may_be_told_to_keep_nothing(client: Client) -> None:
    async with Worker(client, [packs], step_logs=False):
        await client.run(packs, "o1", id="order-1")
    assert await client.get("order-1").logs() == []


def test_both_databases_keep_and_prune_lines(database: Database) -> None:
    now = datetime.now(UTC)
    for run, days in (("new", 1), ("old", 100)):
        at = int((now - timedelta(days=days)).timestamp() * 1e6)
        of = Attempt(run_id=run, execution_id="e", activity_id="a-1", step="a", attempt=1, worker="w")
        for number in range(3):
            lines = [(at, "INFO", "shop", f"line {number} \ud800")]
            add_step_logs(
                database, [Chunk(of=of, first_line=number, lines=lines, oldest_kept=max(0, number - 1))]
            )
    (first, second) = read_step_logs(database, "new")
    assert (first.first_line, second.first_line) == (1, 2)
    assert second.lines[0][3] == "line 2 \ud800"
    assert read_step_logs(database, "new", after=second.id) == []
    prune(database, now=now)
    assert read_step_logs(database, "new")
    assert read_step_logs(database, "old") == []
