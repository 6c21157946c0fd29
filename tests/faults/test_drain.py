"""A worker that is asked to stop under load."""

from __future__ import annotations

import asyncio
import time

from .conftest import Scene, until
from .served import abreast, one_after_another

SHORT = [str(number) for number in range(40)]


async def test_short_steps_are_done_once_and_long_ones_go_on_elsewhere(scene: Scene) -> None:
    ledger = scene.ledger
    async with scene.client() as client:
        first = await scene.host(drain=3, max_steps=20)
        runs = [await client.start(abreast, SHORT, 0.5, id=f"short-{number}") for number in range(3)]
        long = await client.start(one_after_another, ["long"], 6, id="long")
        await until(lambda: ledger.starts(run="long") and len(ledger.starts(step="brief")) > 20, 20)
        asked_at = first.terminate()
        scene.start_host(max_steps=60)
        assert await first.ended(15) == 0
        took = time.monotonic() - asked_at
        print(f"stopped {took:.1f} s after SIGTERM with a drain of 3 s")
        assert 2 < took < 8
        assert await asyncio.gather(*(run.result() for run in runs)) == [SHORT] * 3
        assert await long.result() == ["long"]
    # Zero extra executions of steps shorter than the drain.
    assert len(ledger.starts(step="brief")) == len(SHORT) * 3
    assert ledger.entries(step="brief", event="failed") == []
    events = [(entry.event, entry.pid == first.pid) for entry in ledger.entries(run="long")]
    assert events == [("start", True), ("failed", True), ("start", False), ("end", False)]
    waited = ledger.starts(run="long")[1].at - ledger.entries(run="long", event="failed")[0].at
    print(f"the long step started elsewhere {waited:.1f} s after its cancel")
    assert waited < 12
