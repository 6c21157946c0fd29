"""Runs of which a worker tells are read at once, while somebody listens; what comes on the socket is nobody's truth."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from tests.engine.support import eventually
from tests.indexer.test_faults import working

from holdfast import Client, Worker, step, wait_for, workflow
from holdfast.engine.telemetry import hints
from holdfast.engine.telemetry.hints import Hints, Sockets, addressed, decode, encode
from holdfast.indexer import Indexer, indexer

EXECUTION = "58b0338c-bd25-4829-80c3-179ba9bb9083"


@step
async def counted_at_once(number: int) -> int:
    return number + 1


@workflow
async def counting_at_once(number: int) -> int:
    number = await counted_at_once(number)
    if number > 10:
        await wait_for("go", bool)
    return number


@pytest.fixture
async def client(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", where)
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def heard(client: Client, run: str, *kinds: str) -> list[str]:
    """The first events of a run that are of these kinds."""
    listening = client.events.listen(runs=[run], kinds=kinds, after=0)
    async with asyncio.timeout(30):
        found = [(await anext(listening)).kind for _ in kinds]
    await listening.aclose()
    return found


@pytest.mark.parametrize("way", ["home", "cluster"])
async def test_events_of_a_run_do_not_wait_for_a_round(
    client: Client, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await client.store.database()
    if way == "home":
        await _without_rounds(client, Indexer(client.temporal, database, home=client.home), monkeypatch)
    elif database.is_sqlite:
        pytest.skip("a file tells nobody")
    else:
        async with Client.connect(client.address) as other:
            await _without_rounds(other, Indexer(other.temporal, database), monkeypatch)


async def _without_rounds(client: Client, made: Indexer, monkeypatch: pytest.MonkeyPatch) -> None:
    await made.catch_up()
    waiting = asyncio.create_task(heard(client, "short", "step.completed", "workflow.completed"))
    async with working(made), Worker(client, [counting_at_once]):
        await eventually(lambda: hearing(client), 30)
        for name in ("POLL", "QUIET_POLL", "LONGEST_POLL"):
            monkeypatch.setattr(indexer, name, timedelta(hours=1))
        rounds = made.counts.rounds

        async def one_more() -> bool:
            return made.counts.rounds > rounds

        with suppress(
            AssertionError
        ):  # the one that was under way, or begins yet; it may have just ended too
            await eventually(one_more, 10)
        rounds = made.counts.rounds
        send_nonsense(client)
        await client.run(counting_at_once, 1, id="short")
        assert sorted(await waiting) == ["step.completed", "workflow.completed"]
        run = await client.start(counting_at_once, 10, id="long")
        assert await heard(client, "long", "step.completed") == ["step.completed"]
        await run.send("go", True)
        assert await heard(client, "long", "workflow.completed") == ["workflow.completed"]
        assert made.counts.rounds == rounds
    assert client.home is None or not sockets(client.home), "an indexer that ends takes its socket along"


def sockets(home: Path) -> list[Path]:
    folder = home / "hints"
    return list(folder.iterdir()) if folder.exists() else []


async def hearing(client: Client) -> bool:
    """Whether an indexer hears hints."""
    if client.home is not None:
        return bool(sockets(client.home))
    query = text("SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN holdfast_hints'")
    with (await client.store.database()).read() as connection:
        return connection.execute(query).first() is not None


def send_nonsense(client: Client) -> None:
    if client.home is None:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as anybody:
        for path in sockets(client.home):
            for message in (b"", b"\xff", b"[]", b"{" * 5000, encode([("no-such-run", EXECUTION)])):
                with addressed(path) as address:
                    anybody.sendto(message, address)


def test_a_worker_needs_nobody_who_hears_it(tmp_path: Path) -> None:
    told = Hints(Sockets(tmp_path / "none"))
    told.note("run", EXECUTION)
    told.stop()
    killed = tmp_path / "killed"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone, addressed(killed) as address:
        gone.bind(address)
    told = Hints(Sockets(tmp_path))
    told.note("run", EXECUTION)
    told.stop()
    assert not killed.exists()


def test_hints_arrive_together_also_in_a_home_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        with addressed(folder / "indexer") as address:
            hearing.bind(address)
        hearing.settimeout(30)
        told = Hints(Sockets(folder))
        for run_id in ("one", "twö", "one"):
            told.note(run_id, EXECUTION if run_id == "one" else str(uuid4()))
        message = hearing.recv(hints.MAX_BYTES)
        told.stop()
    assert [run_id for run_id, _ in decode(message)] == ["one", "twö"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(["run", EXECUTION]).encode(),
        json.dumps({EXECUTION: 1}).encode(),
        json.dumps({EXECUTION: ""}).encode(),
        json.dumps({EXECUTION: "\ud800"}).encode(),
        json.dumps({EXECUTION: "x" * 1001}).encode(),
        json.dumps({"no execution": "run"}).encode(),
        encode([("x" * 1000, EXECUTION)]) + b" " * hints.MAX_BYTES,
    ],
)
def test_what_is_no_hint_is_ignored(message: bytes) -> None:
    assert decode(message) == []


def test_a_message_has_so_many_hints_at_most() -> None:
    many = [("run", str(uuid4())) for _ in range(3 * hints.PER_MESSAGE)]
    assert decode(encode(many)) == many[: hints.PER_MESSAGE]
