"""A worker that dies between two pages: what the service was asked, by its own log."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

from .conftest import Scene, thorough, until
from .served_http import all_pages, until_it_holds

PAGES = 12


@asynccontextmanager
async def paged(asked: list[int]) -> AsyncGenerator[tuple[str, int]]:
    """A service of some pages that writes down what it was asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
                number = int(dict(parse_qsl(urlsplit(target).query)).get("cursor", "1"))
                asked.append(number)
                await asyncio.sleep(0.3)
                body = json.dumps(
                    {"next": number + 1 if number < PAGES else None, "count": len(asked)}
                ).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # its worker was killed
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/", port
    server.close()


async def test_the_pages_that_are_there_are_not_fetched_again(scene: Scene) -> None:
    asked: list[int] = []

    async with paged(asked) as (url, port), scene.client() as client:
        environment = {"HOLDFAST_HTTP_ALLOW": f"127.0.0.1:{port}"}
        served = ["tests.faults.served_http"]
        first = await scene.host(environment, served=served)
        run = await client.start(all_pages, url)
        await until(lambda: len(asked) > 4, 20)
        first.kill()
        in_hand = asked[-1]
        await scene.host(environment, served=served)
        assert await run.result() == PAGES
    times = Counter(asked)
    print("asked for", asked, "killed at page", in_hand)
    assert sorted(times) == list(range(1, PAGES + 1))
    # The page that was on its way, and the one whose answer may not have reached the server.
    assert {number for number, count in times.items() if count > 1} <= {in_hand, in_hand - 1}
    assert max(times.values()) <= 2


@thorough
async def test_a_poll_goes_on_counting(scene: Scene) -> None:
    asked: list[int] = []

    async with paged(asked) as (url, port), scene.client() as client:
        environment = {"HOLDFAST_HTTP_ALLOW": f"127.0.0.1:{port}"}
        served = ["tests.faults.served_http"]
        first = await scene.host(environment, served=served)
        run = await client.start(until_it_holds, url)
        await until(lambda: len(asked) > 4, 20)
        first.kill()
        await scene.host(environment, served=served)
        assert await run.result() == 200
        described = await run.describe()
    # The one call that the kill broke off was made twice.
    assert len(described.steps) in (len(asked) - 1, len(asked))
