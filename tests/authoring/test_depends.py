"""What a worker opens once and hands to its steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from holdfast import Client, Depends, Worker, step, workflow

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


class Pool:
    def __init__(self, name: str) -> None:
        self.name = name


async def open_pool() -> AsyncIterator[Pool]:
    LOG.append("open pool")
    await asyncio.sleep(0.05)
    yield Pool("real")
    LOG.append("close pool")


def open_file() -> Iterator[str]:
    LOG.append("open file")
    yield "file"
    LOG.append("close file")


async def make_token() -> str:
    LOG.append("token")
    return "token"


def make_number() -> int:
    return 7


def shaky() -> str:
    LOG.append("shaky")
    if LOG.count("shaky") == 1:
        raise ConnectionError("not yet")
    return "steady"


@step
async def dep_query(number: int, pool: Pool = Depends(open_pool), token: str = Depends(make_token)) -> str:
    return f"{number} {pool.name} {token}"


@step
def dep_read(
    pool: Pool = Depends(open_pool), file: str = Depends(open_file), number: int = Depends(make_number)
) -> str:
    return f"{pool.name} {file} {number}"


@step
async def dep_first(pool: Pool = Depends(open_pool), *, number: int) -> str:
    return f"{pool.name} {number}"


@step
async def dep_shaky(value: str = Depends(shaky)) -> str:
    return value


@step
async def dep_outer(number: int, pool: Pool = Depends(open_pool)) -> str:
    return await dep_query(number)


@workflow
async def dep_all() -> list[str]:
    return [
        *await asyncio.gather(*[dep_query(number) for number in range(3)]),
        await dep_read(),
        await dep_first(number=4),
        await dep_outer(5),
    ]


@workflow
async def dep_again() -> str:
    return await dep_shaky()


async def test_each_is_opened_once_and_closed_with_the_worker(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [dep_all]):
        result = await holdfast_client.run(dep_all)
        await holdfast_client.run(dep_all)
        assert sorted(LOG) == ["open file", "open pool", "token"]
    assert result == [
        "0 real token",
        "1 real token",
        "2 real token",
        "real file 7",
        "real 4",
        "5 real token",
    ]
    assert LOG[-2:] == ["close file", "close pool"]


async def test_a_provider_that_fails_is_tried_again(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [dep_again]):
        assert await holdfast_client.run(dep_again) == "steady"
    assert LOG == ["shaky", "shaky"]


async def test_a_worker_takes_overrides(holdfast_client: Client) -> None:
    overrides: dict[Any, Any] = {open_pool: Pool("fake"), open_file: "paper"}
    async with Worker(holdfast_client, [dep_all], overrides=overrides):
        assert (await holdfast_client.run(dep_all))[2:] == [
            "2 fake token",
            "fake paper 7",
            "fake 4",
            "5 fake token",
        ]
    assert LOG == ["token"]


async def test_each_worker_opens_its_own(holdfast_client: Client) -> None:
    for _ in range(2):
        async with Worker(holdfast_client, [dep_all]):
            await holdfast_client.run(dep_all)
    assert LOG.count("open pool") == LOG.count("close pool") == 2


TASKS: list[object] = []


async def open_scope() -> AsyncIterator[int]:
    TASKS.append(asyncio.current_task())
    yield 1
    TASKS.append(asyncio.current_task())


async def open_badly() -> AsyncIterator[int]:
    yield 2
    raise OSError("it does not close")


@step
async def dep_scoped(scope: int = Depends(open_scope), bad: int = Depends(open_badly)) -> int:
    return scope + bad


@workflow
async def dep_scopes() -> int:
    return await dep_scoped()


async def test_a_provider_is_closed_in_the_task_that_opened_it_whatever_others_raise(
    holdfast_client: Client,
) -> None:
    TASKS.clear()
    worker = Worker(holdfast_client, [dep_scopes], health_port=0)
    with pytest.raises(OSError, match="does not close"):
        async with worker:
            assert await holdfast_client.run(dep_scopes) == 3
    opened, closed = TASKS
    assert opened is closed
    assert worker.health_port
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", worker.health_port)
