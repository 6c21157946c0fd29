"""A worker that stands still past its steps' heartbeats, as on a machine that slept, and then goes on."""

from __future__ import annotations

import asyncio
import signal

from holdfast import Client

from .conftest import Scene
from .served import patient_ones

RUNS, LABELS = 8, ["a", "b", "c"]


async def test_it_begins_nothing_that_others_have_done_meanwhile(scene: Scene, client: Client) -> None:
    await scene.host()
    stopped = await scene.host(queues=["far"])
    stopped.process.send_signal(signal.SIGSTOP)  # the server goes on giving it what it had asked for
    try:
        runs = [await client.start(patient_ones, LABELS) for _ in range(RUNS)]
        await asyncio.sleep(1)
        other = await scene.host(queues=["far"])
        results = await asyncio.gather(*(run.result() for run in runs))
    finally:
        stopped.process.send_signal(signal.SIGCONT)
    assert results == [LABELS] * RUNS
    assert [entry.pid for entry in scene.ledger.starts()] == [other.pid] * RUNS * len(LABELS)
    assert any(entry.attempt > 1 for entry in scene.ledger.starts()), "it was given no step"
    await asyncio.sleep(3)  # it takes up what lies in its connection
    assert scene.ledger.starts(pid=stopped.pid) == []
    assert await client.run(patient_ones, ["again"]) == ["again"]
    stopped.terminate()
    assert await stopped.ended(10) == 0
