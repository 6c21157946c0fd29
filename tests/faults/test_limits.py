"""Keyed limits over several worker processes, by the log of the service that they protect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from holdfast import StepState

from .conftest import Scene, until
from .served_limits import calls

SERVED = ["tests.faults.served_limits"]


@dataclass(kw_only=True)
class Log:
    """What a service has seen."""

    port: int = 0
    now: dict[str, int] = field(default_factory=dict[str, int])
    """How many calls it is at, by label."""
    most: int = 0
    most_of_one: int = 0
    at: list[float] = field(default_factory=list[float])
    """When each call came."""
    labels: list[str] = field(default_factory=list[str])
    pids: list[int] = field(default_factory=list[int])
    """Which process each call came from."""

    @property
    def most_in_a_second(self) -> int:
        """Of all calls, in any second."""
        return max(sum(begin <= at < begin + 1 for at in self.at) for begin in self.at)


@asynccontextmanager
async def protected(seconds: float) -> AsyncGenerator[Log]:
    """A service that is at each call for some time, and counts."""
    log = Log()
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        label, pid = (await reader.readline()).decode().split()
        log.at.append(time.monotonic())
        log.labels.append(label)
        log.pids.append(int(pid))
        log.now[label] = log.now.get(label, 0) + 1
        log.most = max(log.most, sum(log.now.values()))
        log.most_of_one = max(log.most_of_one, log.now[label])
        gone = asyncio.ensure_future(reader.read())
        await asyncio.wait([gone], timeout=seconds)
        log.now[label] -= 1  # before it answers, or when its worker was killed
        if not gone.done():
            writer.write(f"{label}\n".encode())
            gone.cancel()
        writer.close()
        open_ones.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    log.port = server.sockets[0].getsockname()[1]
    try:
        yield log
    finally:
        server.close()
        for writer in list(open_ones):
            writer.transport.abort()
        await asyncio.sleep(0.05)


async def test_no_more_than_the_limit_are_at_work_on_three_workers(scene: Scene) -> None:
    labels = [str(number) for number in range(300)]
    async with protected(0.05) as log, scene.client() as client:
        for _ in range(3):
            await scene.host(served=SERVED)
        began = time.monotonic()
        run = await client.start(calls, "async", log.port, labels)
        assert await run.result() == labels
        print(f"300 calls, 5 at a time: {time.monotonic() - began:.1f} s, at most {log.most}")
        steps = (await run.describe()).steps
    assert log.most == 5
    assert sorted(log.labels) == sorted(labels)
    assert {step.state for step in steps} == {StepState.COMPLETED}


async def test_no_more_than_the_rate_begin_on_three_workers(scene: Scene) -> None:
    labels = [str(number) for number in range(300)]
    async with protected(0.02) as log, scene.client() as client:
        for _ in range(3):
            await scene.host(served=SERVED)
        run = await client.start(calls, "rate", log.port, labels)
        assert await run.result() == labels
        rate = len(log.at) / (log.at[-1] - log.at[0])
        print(f"300 calls, 20 a second: {rate:.1f} a second, at most {log.most_in_a_second} in one")
    assert log.most_in_a_second <= 20
    assert sorted(log.labels) == sorted(labels)


async def test_a_killed_holders_places_are_free_in_ten_seconds(scene: Scene) -> None:
    labels = [str(number) for number in range(20)]
    async with protected(60) as log, scene.client() as client:
        hosts = [await scene.host(served=SERVED, max_steps=10) for _ in range(2)]
        run = await client.start(calls, "async", log.port, labels)
        await until(lambda: len(log.at) == 5, 30)
        victim = next(host for host in hosts if host.pid in log.pids)
        held = log.pids.count(victim.pid)
        killed = victim.kill()
        await until(lambda: len(log.at) == 5 + held, 40)
        took = log.at[-1] - killed
        print(f"{held} places free after {took:.1f} s")
        assert took < 10
        assert log.most == 5
        await run.terminate("enough")


async def test_each_key_has_a_limit_of_its_own(scene: Scene) -> None:
    labels = [f"tenant{number % 5}" for number in range(25)]
    async with protected(0.1) as log, scene.client() as client:
        await scene.host(served=SERVED)
        assert await client.run(calls, "tenant", log.port, labels) == labels
    assert log.most_of_one == 1
    assert log.most > 1


async def test_steps_on_threads_wait_too(scene: Scene) -> None:
    labels = [str(number) for number in range(20)]
    async with protected(0.05) as log, scene.client() as client:
        await scene.host(served=SERVED)
        assert await client.run(calls, "sync", log.port, labels) == labels
    assert log.most == 2
