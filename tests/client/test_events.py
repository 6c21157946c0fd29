"""Listening and publishing, in one process and across processes that are killed."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.conftest import postgres, where
from tests.store.postgres import Postgres

from holdfast import (
    Client,
    EventsLost,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    Unavailable,
    Worker,
    step,
    workflow,
)
from holdfast.client.events import Event
from holdfast.indexer import Indexer
from holdfast.store.events import prune_events

__all__ = ["postgres", "where"]

ROOT = Path(__file__).parents[2]


@step
async def twice_heard(number: int) -> int:
    return 2 * number


@workflow
async def doubled_heard(number: int) -> int:
    return await twice_heard(number)


@pytest.fixture
def home(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", where)
    return tmp_path / ".holdfast"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with Client.embedded(home) as made:
        yield made


async def take(listening: AsyncGenerator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(30):
        found = [await anext(listening) for _ in range(count)]
    await listening.aclose()
    return found


async def test_what_is_published_is_heard_and_can_be_read_again(client: Client) -> None:
    first = await client.events.publish("billing", {"paid": 1})
    assert first is not None
    hearing = asyncio.create_task(take(client.events.listen(channels=["billing"], after=first), 2))
    await client.events.publish("other", "not for us")
    await client.events.publish("billing", {"paid": 2})
    await client.events.publish("billing", [None, "\x00\ud800"])
    heard = await hearing
    assert [event.payload for event in heard] == [{"paid": 2}, [None, "\x00\ud800"]]
    assert {(event.channel, event.kind, event.run_id) for event in heard} == {("billing", "published", None)}
    listed = await client.events.list(channels=["billing"])
    assert listed[:2] == heard[::-1]
    assert await client.events.list(channels=["billing"], before=heard[0].cursor) == listed[2:]
    assert listed[0].to_dict()["payload"] == [None, "\x00\ud800"]


async def test_a_subscription_goes_on_where_its_reader_stopped(client: Client) -> None:
    def listen() -> AsyncGenerator[Event]:
        return client.events.listen(channels=["n"], subscription="s", after=0)

    for number in range(5):
        await client.events.publish("n", number)
    heard = await take(listen(), 3)
    # The last one was not followed by another request: whether it was done with, nobody knows.
    heard += await take(listen(), 3)
    assert [event.payload for event in heard] == [0, 1, 2, 2, 3, 4]
    [known] = await client.events.subscriptions()
    assert (known.name, known.cursor < await client.events.cursor()) == ("s", True)
    await client.events.unsubscribe("s")
    assert await client.events.subscriptions() == []
    assert [event.payload for event in await take(listen(), 1)] == [0]
    with pytest.raises(NotFound, match="'t'"):
        await client.events.unsubscribe("t")
    for name in ("holdfast.triggers", "holdfast.", ""):
        with pytest.raises(InvalidInput):
            await anext(client.events.listen(channels=["n"], subscription=name))
        with pytest.raises(InvalidInput):
            await client.events.unsubscribe(name)


async def test_messages_reach_those_who_listen_and_nobody_later(client: Client) -> None:
    await client.events.publish("chat", "before")
    hearing = asyncio.create_task(take(client.events.listen(channels=["chat"], after=0), 2))
    message = {"text": "x" * 7000}

    async def again() -> None:
        while not hearing.done():
            assert await client.events.publish("chat", message, notify_only=True) is None
            await asyncio.sleep(0.1)

    await again()
    heard = await hearing
    assert [event.payload for event in heard] == ["before", message]
    assert heard[1].cursor is None
    await client.events.publish("chat", "after")
    late = await take(client.events.listen(channels=["chat"], after=0), 2)
    assert [event.payload for event in late] == ["before", "after"]


async def test_what_cannot_be_is_refused_with_the_reason(client: Client) -> None:
    for channel, payload in (
        ("runs", 1),
        ("", 1),
        ("a\nb", 1),
        ("x" * 101, 1),
        ("a", float("nan")),
        ("a", {1}),
    ):
        with pytest.raises(InvalidInput):
            await client.events.publish(channel, payload)
    with pytest.raises(PayloadTooLarge, match="7,500 are allowed: publish it without notify_only"):
        await client.events.publish("a", "x" * 8000, notify_only=True)
    with pytest.raises(PayloadTooLarge):
        await client.events.publish("a", "x" * 300_000)
    with pytest.raises(InvalidInput, match="at its end"):
        await anext(client.events.listen(kinds=["*.failed"]))
    with pytest.raises(InvalidInput, match="a list"):
        await anext(client.events.listen(kinds="step.failed"))
    with pytest.raises(Unavailable, match="holdfast indexer"):
        await anext(client.events.listen())


async def test_what_was_deleted_is_told(client: Client) -> None:
    for number in range(3):
        await client.events.publish("n", number)
    listed = await client.events.list(channels=["n"])
    database = await client.store.database()
    await asyncio.to_thread(prune_events, database, listed[0].at)
    oldest = listed[-1].cursor
    with pytest.raises(EventsLost):
        await anext(client.events.listen(channels=["n"], after=oldest))
    skipping = client.events.listen(channels=["n"], after=oldest, if_lost="skip")
    assert [event.payload for event in await take(skipping, 1)] == [2]


async def test_the_events_of_a_run_are_heard(client: Client) -> None:
    indexer = Indexer(client.temporal, await client.store.database())
    await indexer.catch_up()
    listening = client.events.listen(
        workflows=["doubled_heard"], kinds=["workflow.*", "step.completed"], after=0
    )
    hearing = asyncio.create_task(take(listening, 3))
    async with Worker(client, [doubled_heard]):
        await client.run(doubled_heard, 2, id="d-1")
    await indexer.catch_up()
    heard = await hearing
    assert {event.run_id for event in heard} == {"d-1"}
    assert sorted(event.kind for event in heard) == [
        "step.completed",
        "workflow.completed",
        "workflow.started",
    ]


class Host:
    """A process of `events_host`, and what it has printed."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self._log = folder / f"{time.monotonic_ns()}.log"
        with self._log.open("wb") as file:
            command = [sys.executable, "-m", "tests.client.events_host", *map(str, arguments)]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=file)

    def lines(self) -> list[list[int]]:
        """The whole lines, as numbers."""
        text = self._log.read_text()
        return [[int(word) for word in line.split()] for line in text[: text.rfind("\n") + 1].splitlines()]

    def until(self, reached: Callable[[list[list[int]]], Any], seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds
        while not reached(self.lines()):
            assert time.monotonic() < deadline, self.lines()[-3:]
            time.sleep(0.02)

    def kill(self) -> list[list[int]]:
        self.process.kill()
        self.process.wait()
        return self.lines()


@pytest.fixture
def host(tmp_path: Path, home: Path) -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(what: str, *arguments: object) -> Host:
        hosts.append(Host(tmp_path, what, home, *arguments))
        return hosts[-1]

    yield start
    for one in hosts:
        with contextlib.suppress(OSError):
            one.kill()


@pytest.mark.usefixtures("client")
async def test_kills_of_readers_and_writers_and_a_restart_of_the_database_lose_nothing(
    host: Callable[..., Host], request: pytest.FixtureRequest, where: str
) -> None:
    await asyncio.to_thread(_kills, host, where, request)


def _kills(host: Callable[..., Host], where: str, request: pytest.FixtureRequest) -> None:
    last = 150
    reader = host("read", 0, last)
    console = host("read", 0, last, "console")
    host("write", 0, 0)
    for one in (reader, console):  # both listen before the writer is far ahead
        one.until(len)
    writer = host("write", 1, last)
    reader.until(lambda lines: len(lines) >= 20)
    seen = reader.kill()
    acknowledged = [line[0] for line in writer.kill()]
    writer = host("write", acknowledged[-1], last)
    console.until(lambda lines: len(lines) >= 30)
    seen_by_console = console.kill()
    if not where.startswith("sqlite"):
        server: Postgres = request.getfixturevalue("postgres")
        writer.until(lambda lines: len(lines) >= 20)
        reader = host("read", seen[-1][0], last)
        reader.until(len)
        server.stop()
        server.start()
    else:
        reader = host("read", seen[-1][0], last)
    console = host("read", 0, last, "console")
    for one in (writer, reader, console):
        assert one.process.wait(200) == 0
    acknowledged += [line[0] for line in writer.lines()]
    seen += reader.lines()
    seen_by_console += console.lines()
    assert set(acknowledged) == set(range(1, last + 1))
    assert {number for _, number in seen} == {0, *acknowledged}
    assert {number for _, number in seen_by_console} == {0, *acknowledged}
    cursors = [cursor for cursor, _ in seen]
    assert cursors == sorted(set(cursors)), "by cursor, each comes once and in order"
    repeated = len(seen_by_console) - len({cursor for cursor, _ in seen_by_console})
    assert repeated < len(seen_by_console) / 2, "the subscription went on, and did not begin again"
