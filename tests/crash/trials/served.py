"""What the workers of the trials serve beside the shapes of the harness."""

from __future__ import annotations

import asyncio

from tests.crash.work import piece, work

from holdfast import continue_as_new, map_steps, wait_for, workflow

PER_EXECUTION = 500
"""Messages after which the collecting run continues as new."""


@workflow(name="trial.collect")
async def collect(total: int, taken: list[list[int]]) -> list[list[int]]:
    """Takes messages until it has all; they go along from execution to execution."""
    taken += [await wait_for("item", list[int]) for _ in range(min(PER_EXECUTION, total - len(taken)))]
    if len(taken) < total:
        continue_as_new(total, taken)
    return taken


@workflow(name="trial.collect-in-one")
async def collect_in_one(total: int) -> list[list[int]]:
    """The same as somebody writes it who knows nothing of histories' limits."""
    return [await wait_for("item", list[int]) for _ in range(total)]


@workflow(name="trial.open")
async def waits(number: int) -> int:
    """Is open until it is told to go on."""
    return number + await wait_for("go", int)


@workflow(name="trial.short")
async def short(seconds: float) -> str:
    """One step."""
    return await work("only", seconds)


@workflow(name="trial.mapped")
async def mapped(count: int, seconds: float) -> int:
    """Many steps, as a map."""
    done = await map_steps(piece, [(str(number), seconds) for number in range(count)], concurrency=200)
    assert done == [str(number) for number in range(count)]
    return len(done)


@workflow(name="trial.chained")
async def chained(count: int, first: int, width: int) -> int:
    """Many plain steps, `width` at a time, of a run that continues as new."""
    last = min(count, first + 1000)
    for begin in range(first, last, width):
        labels = [str(number) for number in range(begin, min(begin + width, last))]
        assert await asyncio.gather(*(work(label, 0.0) for label in labels)) == labels
    if last < count:
        continue_as_new(count, last, width)
    return count
