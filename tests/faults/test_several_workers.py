"""Three worker processes on one queue, under load, with a workflow that spins; one worker is killed."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from holdfast import WaitTimeout

from .conftest import Scene, chance, rounds, until, until_stuck
from .served import abreast, brief_ones, spinning

NAMES = ["a", "b", "c", "d", "e"]


@rounds
async def test_no_run_is_lost_and_the_spinning_one_is_named(scene: Scene, round: int) -> None:
    dice, ledger = chance(), scene.ledger
    async with scene.client() as client:
        hosts = await asyncio.gather(*(scene.host() for _ in range(3)))
        await client.start(spinning, id="an-early-spinning-one")
        runs = [
            await client.start(dice.choice([abreast, brief_ones]), NAMES, dice.uniform(0.05, 0.6))
            for _ in range(20)
        ]
        await until(lambda: len({entry.pid for entry in ledger.starts()}) == 3, 20)
        await asyncio.sleep(dice.uniform(0, 1))
        victim = dice.choice(hosts)
        killed_at = victim.kill()
        # The early one may be the victim's; then it is only known by time-outs, which take longer to tell.
        spin = await client.start(spinning, id="the-spinning-one")
        results = await asyncio.gather(*(run.result() for run in runs))
        print(f"all others finished {time.monotonic() - killed_at:.1f} s after the kill")
        assert results == [NAMES] * len(runs)
        assert ledger.done_again({victim.pid: killed_at}) == []
        assert len(ledger.ends()) >= len(runs) * len(NAMES)
        await until_stuck(spin, "blocked")
        named = "workflow 'spinning' of run the-spinning-one holds its thread ("
        lines = [line for host in hosts for line in host.said.splitlines() if named in line]
        assert lines
        assert "served.py:" in lines[0]
        with pytest.raises(WaitTimeout):
            await spin.result(timeout=timedelta(milliseconds=100))
