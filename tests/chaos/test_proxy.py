"""The proxy passes bytes, and disturbs them as it is told; a worker behind it goes on afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast import Client, NotAllowed, Worker
from holdfast.chaos.control import Control
from holdfast.chaos.faults import Faults
from holdfast.chaos.plan import Fault, FaultKind
from holdfast.chaos.proxy import Proxy

from .flows import disturbed_flow

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Ends]]


class Echo:
    """A server that says back what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.news = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            self.heard += data
            self.news.set()
            writer.write(data)
        writer.close()


@asynccontextmanager
async def disturbed(proxy: Proxy, kind: FaultKind, seconds: float = 60.0) -> AsyncGenerator[None]:
    """A fault that lasts as long as the block."""
    task = asyncio.create_task(proxy.disturb(Fault(kind=kind, duration=timedelta(seconds=seconds))))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def said(ends: Ends, data: bytes) -> bytes:
    """What comes back; nothing when the connection ends."""
    reader, writer = ends
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read(1000)
    except ConnectionError:
        return b""


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(echo.answer, "127.0.0.1", 0)
    async with server, Proxy(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as served:
        yield served


@pytest.fixture
async def connected(proxy: Proxy) -> AsyncIterator[Connect]:
    """Makes connections."""
    made: list[asyncio.StreamWriter] = []

    async def connect() -> Ends:
        host, _, port = proxy.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        made.append(writer)
        return reader, writer

    yield connect
    for writer in made:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in made), return_exceptions=True)


async def test_bytes_pass_and_so_does_their_end(connected: Connect) -> None:
    reader, writer = await connected()
    sent = bytes(range(256)) * 4000
    writer.write(sent)
    writer.write_eof()
    assert await reader.read() == sent


async def test_a_partition_cuts_and_refuses_until_it_is_over(proxy: Proxy, connected: Connect) -> None:
    before = await connected()
    assert await said(before, b"hello") == b"hello"
    async with disturbed(proxy, FaultKind.PARTITION):
        assert await said(before, b"lost") == b""
        assert await said(await connected(), b"refused") == b""
    assert await said(await connected(), b"again") == b"again"


async def test_what_is_delayed_comes_late_and_whole(proxy: Proxy, connected: Connect) -> None:
    ends = await connected()
    assert await said(ends, b"hello") == b"hello"
    async with disturbed(proxy, FaultKind.DELAY, seconds=3):
        began = time.monotonic()
        assert await said(ends, b"late") == b"late"
        assert time.monotonic() - began >= 0.6  # a tenth of three seconds each way
    assert await said(ends, b"again") == b"again"


async def test_half_open_connections_are_silent_and_then_cut(
    proxy: Proxy, echo: Echo, connected: Connect
) -> None:
    reader, writer = ends = await connected()
    assert await said(ends, b"hello") == b"hello"
    async with disturbed(proxy, FaultKind.HALF_OPEN):
        writer.write(b"lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
    assert await said(ends, b"gone") == b""
    assert echo.heard == b"hello"


async def test_a_lost_reply_leaves_what_was_asked_done(proxy: Proxy, echo: Echo, connected: Connect) -> None:
    reader, writer = ends = await connected()
    assert await said(ends, b"hello") == b"hello"
    echo.news.clear()
    async with disturbed(proxy, FaultKind.LOST_REPLY):
        writer.write(b" do it")
        await asyncio.wait_for(echo.news.wait(), 10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
    assert await said(ends, b"gone") == b""
    assert echo.heard == b"hello do it"


def test_servers_elsewhere_are_refused() -> None:
    with pytest.raises(NotAllowed):
        Proxy("temporal.example.com:7233")


async def test_a_worker_behind_it_goes_on_after_each_fault_that_is_asked_for(tmp_path: Path) -> None:
    home = tmp_path / ".holdfast"
    async with Client.embedded(home) as client, Proxy(client.address) as proxy:
        serving = asyncio.create_task(proxy.serve(Faults(Control(client.chaos.folder))))
        async with Client.embedded(home, via=proxy.address) as behind, Worker(behind, [disturbed_flow]):
            assert await client.run(disturbed_flow, str(tmp_path)) == [1, 1, 1]
            for kind in (FaultKind.PARTITION, FaultKind.LOST_REPLY):
                await client.chaos.inject(kind, duration=timedelta(seconds=1))
                run = await client.start(disturbed_flow, str(tmp_path))
                assert len(await run.result()) == 3
            async with asyncio.timeout(30):
                while (  # noqa: ASYNC110 - the proxy tells it to a file
                    await client.chaos.stats()
                ).recovered != {"partition": 1, "lost_reply": 1}:
                    await asyncio.sleep(0.1)
        serving.cancel()
        await asyncio.wait([serving])
