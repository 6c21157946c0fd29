"""Workers that do not know the same steps on one queue, and runs that are started again."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import Client, RunFailed, Worker, step, step_info, workflow
from holdfast.authoring.registry import registry

KEYS: list[str] = []
FAIL = [True]


@step
async def mixed_key(value: int) -> int:
    KEYS.append(step_info().idempotency_key)
    if FAIL[0]:
        raise ValueError("not now")
    return value


@workflow
async def mixed_run(value: int) -> int:
    return await mixed_key.with_options(retry="none")(value)


async def test_a_step_that_the_only_worker_does_not_know_waits_for_one_that_does(
    holdfast_client: Client,
) -> None:
    @step(name="mixed_late")
    async def late(value: int) -> int:
        return value + 1

    @workflow(name="mixed_waits", sandboxed=False)
    async def waits(value: int) -> int:
        return await late.with_options(retry="none")(value)

    steps = registry()._steps  # a worker of an older deploy
    known = steps.pop("mixed_late")
    try:
        async with Worker(holdfast_client, [waits]):
            run = await holdfast_client.start(waits, 1)
            async with asyncio.timeout(20):
                while "TIMER_STARTED" not in (await run.history()).to_json():  # noqa: ASYNC110 - a server's event
                    await asyncio.sleep(0.1)
    finally:
        steps["mixed_late"] = known
    async with Worker(holdfast_client, [waits]):
        assert await run.result() == 2


async def test_a_run_started_again_has_idempotency_keys_of_its_own(holdfast_client: Client) -> None:
    KEYS.clear()
    async with Worker(holdfast_client, [mixed_run]):
        with pytest.raises(RunFailed):
            await holdfast_client.run(mixed_run, 1, id="again")
        FAIL[0] = False
        assert await holdfast_client.run(mixed_run, 1, id="again", if_exists="restart") == 1
    assert len(set(KEYS)) == 2
    assert KEYS[0] == "again/mixed_key-1"
