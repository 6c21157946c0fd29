"""Single steps of an open run: tried at once, held, let go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast import (
    Client,
    InvalidInput,
    NotFound,
    RetryPolicy,
    Run,
    RunClosed,
    StepState,
    Worker,
    step,
    workflow,
)

from .support import eventually

TRIES: list[str] = []
HOUR = RetryPolicy(max_attempts=5, first_delay=timedelta(hours=1), max_delay=timedelta(hours=1))


@pytest.fixture(autouse=True)
def _fresh_tries() -> None:
    TRIES.clear()


@step(retry=HOUR)
async def control_flaky(name: str) -> str:
    TRIES.append(name)
    if len(TRIES) < 2:
        raise ConnectionError("not yet")
    return name


@workflow
async def controlled(name: str) -> str:
    return await control_flaky(name)


async def _is(run: Run[Any], state: StepState) -> bool:
    found = (await run.describe()).step("control_flaky")
    return found is not None and found.state is state


async def test_a_step_in_backoff_is_tried_now(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [controlled]):
        run = await holdfast_client.start(controlled, "a")
        await eventually(lambda: _is(run, StepState.RETRYING))
        with pytest.raises(NotFound, match="has no open step 'control_flaky#2'; open are: control_flaky-1"):
            await run.retry_now("control_flaky#2")
        with pytest.raises(InvalidInput, match="is not paused"):
            await run.resume_step("control_flaky")
        await run.retry_now("control_flaky", by="ada")
        assert await run.result(timeout=timedelta(seconds=30)) == "a"
        with pytest.raises(RunClosed):
            await run.retry_now("control_flaky")
    assert TRIES == ["a", "a"]


async def test_a_step_is_held_and_let_go(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [controlled]):
        run = await holdfast_client.start(controlled, "b")
        await eventually(lambda: _is(run, StepState.RETRYING))
        await run.pause_step("control_flaky", reason="the bank is closed")
        await eventually(lambda: _is(run, StepState.WAITING))
        with pytest.raises(InvalidInput, match="is paused already"):
            await run.pause_step("control_flaky")
        with pytest.raises(InvalidInput, match="is paused: resume it"):
            await run.retry_now("control_flaky")
        await run.resume_step("control_flaky")
        assert await run.result(timeout=timedelta(seconds=30)) == "b"
