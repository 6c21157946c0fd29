"""Steps that compute, in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from holdfast import Client, Permanent, RetryPolicy, RunFailed, Worker, step, workflow
from holdfast.engine.process_pool import ProcessPool

QUICK = RetryPolicy(max_attempts=2, first_delay=timedelta(milliseconds=10))


class Matrix(BaseModel):
    rows: list[list[int]]


class Awkward(Exception):
    """Cannot be pickled back: it needs a second argument."""

    def __init__(self, what: str, *, why: str) -> None:
        super().__init__(what)
        self.why = why


@step(process=True, retry=QUICK)
def compute(matrix: Matrix, how: str) -> list[int]:
    match how:
        case "awkward":
            raise Awkward("the matrix is odd", why="it is")
        case "permanent":
            raise Permanent("never")
        case "dies":
            os._exit(3)
        case "exits":
            raise SystemExit(4)
        case _:
            pass
    return [os.getpid(), *(sum(row) for row in matrix.rows)]


@workflow
async def computing(how: str) -> list[int]:
    return await compute(Matrix(rows=[[1, 2], [3, 4]]), how)


async def test_a_step_runs_in_another_process(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [computing], max_processes=1):
        pid, *sums = await holdfast_client.run(computing, "well")
        assert sums == [3, 7]
        assert pid != os.getpid()
        for how, message in [
            ("awkward", "compute' failed after 2 attempts: Awkward: the matrix is odd"),
            ("permanent", "compute' failed: Permanent: never"),
            ("exits", "compute' failed after 2 attempts: SystemExit: 4"),
            ("dies", "failed after 2 attempts: Unavailable: the process that ran step 'compute' died"),
        ]:
            with pytest.raises(RunFailed) as failed:
                await holdfast_client.run(computing, how)
            assert message in failed.value.message
        assert (await holdfast_client.run(computing, "well"))[1:] == [3, 7]


class Named(BaseModel):
    row_count: int = Field(alias="rowCount")


@step(process=True, retry=QUICK)
def renamed(named: Named, data: bytes) -> tuple[Named, int]:
    return Named(rowCount=named.row_count + 1), len(data)


@workflow
async def renaming() -> int:
    named, size = await renamed(Named(rowCount=3), b"\xff\x00")
    return named.row_count + size


async def test_values_cross_to_a_process_as_they_travel_to_any_step(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [renaming], max_processes=1):
        assert await holdfast_client.run(renaming) == 6


@step(process=True)
def dwell(started: str, seconds: float) -> int:
    Path(started).touch()
    time.sleep(seconds)
    return os.getpid()


@step(process=True)
def die() -> None:
    os._exit(3)


async def test_a_process_that_dies_takes_no_other_step_along(tmp_path: Path) -> None:
    with contextlib.closing(ProcessPool(2)) as pool:
        neighbour = asyncio.create_task(pool.call(dwell, [str(tmp_path / "started"), 2.0]))
        await appears(tmp_path / "started")
        for _ in range(2):
            with pytest.raises(BrokenProcessPool):
                await pool.call(die, [])
        assert await neighbour != os.getpid()


async def test_a_cancelled_step_gives_its_place_back_though_it_computes_for_ever(tmp_path: Path) -> None:
    with contextlib.closing(ProcessPool(1)) as pool:
        computing = asyncio.create_task(pool.call(dwell, [str(tmp_path / "started"), 3600.0]))
        await appears(tmp_path / "started")
        computing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await computing
        async with asyncio.timeout(30):
            assert await pool.call(dwell, [str(tmp_path / "again"), 0.0]) != os.getpid()


async def appears(file: Path) -> None:
    async with asyncio.timeout(30):
        while not file.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.02)
