"""Beats of steps leave whatever one of the steps does."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from holdfast import Client, RetryPolicy, Worker, step, step_info, workflow

ONCE = RetryPolicy(max_attempts=1)
SHORT = timedelta(seconds=2)


@step(retry=ONCE, heartbeat=SHORT)
def records_nonsense(seconds: float) -> str:
    refused = ""
    try:
        step_info().heartbeat(object())
    except Exception as exc:  # noqa: BLE001 - what a careless step does
        refused = type(exc).__name__
    time.sleep(seconds)
    return refused


@step(retry=ONCE, heartbeat=SHORT)
async def neighbour(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@workflow
async def side_by_side(seconds: float) -> list[str]:
    return list(await asyncio.gather(records_nonsense(seconds), neighbour(seconds)))


async def test_progress_that_cannot_travel_stops_no_beats(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [side_by_side]):
        assert await holdfast_client.run(side_by_side, 5) == ["InvalidInput", "done"]


async def test_beats_that_fail_stop_no_other_beats(
    holdfast_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with Worker(holdfast_client, [side_by_side]) as worker:
        beats = worker._heartbeats

        def broken() -> None:
            raise RuntimeError("the codec is down")

        beats.add(b"token", "broken", 0.8, broken)
        assert await holdfast_client.run(side_by_side, 4) == ["InvalidInput", "done"]
        beats.remove(b"token")
    assert "step 'broken' cannot beat" in caplog.text
