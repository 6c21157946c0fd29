"""A cancel that was asked for holds, also when the step or child that it reaches ends in its own way."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from holdfast import (
    Client,
    RetryPolicy,
    RunCancelled,
    RunState,
    RunTimedOut,
    StepFailed,
    Worker,
    step,
    workflow,
)

from .support import replay, until

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


@step(retry=RetryPolicy(max_attempts=1))
async def deaf(how: str) -> str:
    LOG.append("begun")
    try:
        await asyncio.sleep(20)
    except asyncio.CancelledError:
        if how == "raises":
            raise ValueError("not now") from None
    return "done"


@deaf.compensate
async def undo_deaf(how: str, result: str | None) -> None:
    LOG.append(f"undone {result}")


@step
async def next_one(how: str) -> str:
    LOG.append("next")
    return how


@workflow
async def two_steps(how: str) -> str:
    try:
        await deaf(how)
    except StepFailed:
        LOG.append("caught")
    return await next_one(how)


@workflow
async def parent_of_two_steps(how: str) -> str:
    await deaf_child(how)
    return await next_one(how)


@workflow
async def deaf_child(how: str) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "ended well"
    return how


@pytest.mark.parametrize(("how", "undone"), [("completes", "undone done"), ("raises", "undone None")])
async def test_a_step_that_ends_in_its_own_way_does_not_hide_the_cancel(
    holdfast_client: Client, how: str, undone: str
) -> None:
    async with Worker(holdfast_client, [two_steps]):
        run = await holdfast_client.start(two_steps, how)
        await until(lambda: LOG)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert ["begun", undone] == LOG
    await replay(run, two_steps)


async def test_a_step_that_ends_in_its_own_way_does_not_hide_the_time_limit(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [two_steps]):
        run = await holdfast_client.start(two_steps, "completes", timeout=timedelta(seconds=1))
        with pytest.raises(RunTimedOut):
            await run.result()
    assert LOG == ["begun", "undone done"]


async def test_a_child_that_ends_in_its_own_way_does_not_hide_the_cancel(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [parent_of_two_steps, deaf_child]):
        run = await holdfast_client.start(parent_of_two_steps, "child")
        while not (children := (await run.describe()).children):  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(0.05)
        child = holdfast_client.get(children[0])
        while (await child.describe()).state is not RunState.WAITING:  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(0.05)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        assert await child.result() == "ended well"
