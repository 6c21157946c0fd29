"""Steps that compute, in processes of their own."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from pydantic import BaseModel, Field

from holdfast import Client, Permanent, RetryPolicy, RunFailed, Worker, step, workflow

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
