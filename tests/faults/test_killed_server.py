"""The embedded server, then its supervisor, are killed under load; client and worker go on by themselves."""

from __future__ import annotations

import asyncio
import os
import signal

from holdfast import Client, HoldfastError, Run
from holdfast.engine.embedded import ServerInfo, read_info

from .conftest import THOROUGH, Scene, chance, rounds, until
from .served import one_after_another, waiting

RUNS = 24 if THOROUGH else 12
VICTIMS = ["server_pid", "supervisor_pid", *(["server_pid", "supervisor_pid"] if THOROUGH else [])]


@rounds
async def test_nothing_that_was_acknowledged_is_lost(scene: Scene, round: int) -> None:
    dice = chance()
    async with scene.client() as client:
        host = await scene.host()
        long = await client.start(one_after_another, ["a", "b"], 5)
        feeding = asyncio.create_task(feed(client))
        for victim in VICTIMS:
            await asyncio.sleep(dice.uniform(0.3, 1.5))
            seconds = await kill_and_wait(scene, victim)
            print(f"{victim} killed, the server was back after {seconds:.1f} s")
        acknowledged = await feeding
        results = await asyncio.gather(*(run.result() for run in acknowledged))
        assert results == [[number, -number] for number in range(RUNS)]
        assert await long.result() == ["a", "b"]
    # The steps that ran all the time were neither lost nor done twice.
    assert scene.ledger.done_again() == []
    assert len(scene.ledger.starts()) == 2
    host.terminate()
    assert await host.ended(10) == 0


async def feed(client: Client) -> list[Run[list[int]]]:
    """Start runs and send them messages, each until it is acknowledged."""
    started: list[Run[list[int]]] = []
    for number in range(RUNS):
        run = await acknowledged_start(client, number)
        started.append(run)
        for name, value in (("first", number), ("second", -number)):
            await acknowledged_send(run, name, value)
        await asyncio.sleep(0.1)
    return started


async def acknowledged_start(client: Client, number: int) -> Run[list[int]]:
    while True:
        try:
            return await client.start(waiting, ["first", "second"], id=f"run-{number}", if_exists="return")
        except HoldfastError as error:
            print(f"start of {number}: {error!r}")


async def acknowledged_send(run: Run[list[int]], name: str, value: int) -> None:
    while True:
        try:
            await run.send(name, value)
            return
        except HoldfastError as error:
            print(f"send to {run.id}: {error!r}")


async def kill_and_wait(scene: Scene, victim: str) -> float:
    before = read_info(scene.home)
    assert before
    os.kill(getattr(before, victim), signal.SIGKILL)
    after: list[ServerInfo] = []

    def back() -> bool:
        info = read_info(scene.home)
        if info and info.server_pid != before.server_pid:
            after.append(info)
        return bool(after)

    seconds = await until(back, 10)
    assert after[0].address == before.address
    assert seconds < 5
    return seconds
