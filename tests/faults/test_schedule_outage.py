"""A server that is down over three times of a trigger: each gets one run or none."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.engine.support import eventually

from holdfast import Client, Worker, workflow
from holdfast.engine import embedded
from holdfast.triggers import Interval, Policy

from .conftest import thorough

EVERY = timedelta(seconds=2)


@workflow
async def so_tick() -> None: ...


@pytest.mark.parametrize(
    ("window", "all_of_them"),
    [(timedelta(days=1), True), pytest.param(timedelta(seconds=10), False, marks=thorough)],
)
async def test_each_time_gets_one_run_or_none(tmp_path: Path, window: timedelta, all_of_them: bool) -> None:
    home = tmp_path / ".holdfast"
    async with Client.embedded(home) as client:
        policy = Policy(overlap="allow_all", catchup_window=window)
        await client.triggers.create("tick", so_tick, on=Interval(EVERY), policy=policy)

        async def first() -> Any:
            return (await client.triggers.get("tick")).last

        await eventually(first, 20)
    await asyncio.to_thread(asyncio.run, embedded.stop(home))
    down = datetime.now(UTC)
    pause = 3 * EVERY if all_of_them else timedelta(seconds=10) + 3 * EVERY
    await asyncio.sleep(pause.total_seconds())
    up = datetime.now(UTC)
    async with Client.embedded(home) as client, Worker(client, [so_tick]):

        async def later() -> bool:
            last = (await client.triggers.get("tick")).last
            return any(run.due and run.due > up + EVERY for run in last)

        await eventually(later, 40)
        await client.triggers.pause("tick")
        due = await client.triggers.times("tick", down, up)
        missed = (await client.triggers.get("tick")).missed_count or 0

        names = [f"trigger-tick-{time:%Y-%m-%dT%H:%M:%SZ}" for time in due]

        async def listed() -> Any:
            found = [run.id async for run in client.temporal.list_workflows('WorkflowType = "so_tick"')]
            there = set(names) <= set(found) if all_of_them else max(found, default="") > names[-1]
            return found if there else None

        ids: list[str] = await eventually(listed, 20)
    times = Counter(ids)
    assert len(due) >= 3
    assert set(times.values()) == {1}
    assert (set(names) <= set(ids)) is all_of_them
    assert (missed == 0) is all_of_them
