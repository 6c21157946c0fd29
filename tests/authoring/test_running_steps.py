"""Steps as a worker runs them: circumstances, beats, cancellation, names, instances."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from holdfast import (
    Client,
    InvalidStep,
    Permanent,
    RetryPolicy,
    RunCancelled,
    RunFailed,
    Worker,
    continue_as_new,
    step,
    step_info,
    workflow,
)
from holdfast.testing import fresh_registry

from ..engine.support import eventually, replay, until  # noqa: TID252 - tests are no package on the path

LOG: list[Any] = []
QUICK = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=10))


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


@step(retry=QUICK)
async def run_info(fail_until: int) -> str:
    info = step_info()
    LOG.append(info)
    if info.attempt < fail_until:
        raise ConnectionError("again")
    return info.idempotency_key


@step(retry=QUICK)
def run_info_on_a_thread(fail_until: int) -> str:
    return run_info_sync(fail_until)


def run_info_sync(fail_until: int) -> str:
    info = step_info()
    LOG.append(info)
    if info.attempt < fail_until:
        raise ConnectionError("again")
    return info.idempotency_key


@step(local=True, retry=QUICK)
async def run_info_locally(fail_until: int) -> str:
    return run_info_sync(fail_until)


@workflow
async def run_infos(n: int) -> None:
    await run_info(2)
    await run_info(1)
    await run_info_on_a_thread(2)
    await run_info_locally(2)
    if n == 0:
        continue_as_new(1)


@step(retry=QUICK)
async def run_resumes(count: int) -> int:
    done = step_info().heartbeat_details[0] if step_info().heartbeat_details else 0
    for number in range(done, count):
        LOG.append(number)
        step_info().heartbeat(number + 1)
        if len(LOG) == 3:
            await asyncio.sleep(0.1)
            raise ConnectionError("cut")
    return done


@workflow
async def run_resumed() -> int:
    return await run_resumes(5)


@step
async def run_until_cancelled() -> None:
    LOG.append("async starts")
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        LOG.append(f"async cancelled {step_info().cancelled}")
        raise


@step
def run_thread_until_cancelled() -> None:
    LOG.append("thread starts")
    try:
        while True:
            time.sleep(0.05)
    except BaseException as exc:
        LOG.append(f"thread cancelled {step_info().cancelled} {type(exc).__name__}")
        raise


@step
def run_thread_that_looks() -> str:
    LOG.append("looking starts")
    while not step_info().cancelled:
        time.sleep(0.05)
    return "stopped by myself"


@workflow
async def run_cancelled() -> None:
    await asyncio.gather(run_until_cancelled(), run_thread_until_cancelled())


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    @step
    async def sell(self, what: str) -> str:
        if what == "air":
            raise Permanent("not for sale")
        return f"{self.name} sells {what}"

    @sell.compensate
    async def take_back(self, what: str, result: str | None) -> None:
        LOG.append(f"{self.name} takes back {what}")

    @step
    def count(self, what: str) -> int:
        return len(self.name) + len(what)


@workflow
async def run_shop(what: str) -> str:
    sold = await Shop.sell("bread")
    await Shop.count(what)
    await Shop.sell(what)
    return sold


async def test_every_attempt_has_the_same_key_and_every_call_another(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [run_infos]):
        run = await holdfast_client.start(run_infos, 0, id="r")
        await run.result()
        await replay(run, run_infos)
    keys: dict[str, list[int]] = {}
    for info in LOG:
        assert (info.run_id, info.workflow) == ("r", "run_infos")
        keys.setdefault(info.idempotency_key, []).append(info.attempt)
    assert sorted(keys.values()) == [[1], [1]] + [[1, 2]] * 6
    assert [info.step for info in LOG if info.is_local] == ["run_info_locally"] * 4


async def test_the_next_attempt_finds_what_the_last_one_recorded(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [run_resumed]):
        assert await holdfast_client.run(run_resumed) == 3
    assert LOG == [0, 1, 2, 3, 4]


async def test_a_cancel_reaches_async_functions_and_threads(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [run_cancelled]):
        run = await holdfast_client.start(run_cancelled)
        await until(lambda: len(LOG) == 2)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert sorted(LOG[2:]) == ["async cancelled True", "thread cancelled True CancelledError"]


async def test_a_thread_may_look_whether_it_is_cancelled(holdfast_client: Client) -> None:
    @workflow
    async def run_looking() -> str:
        return await run_thread_that_looks()

    async with Worker(holdfast_client, [run_looking]):
        run = await holdfast_client.start(run_looking)
        await until(lambda: LOG)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()


async def test_methods_run_on_the_instance_that_the_worker_got(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [run_shop, Shop("corner")]):
        assert await holdfast_client.run(run_shop, "milk") == "corner sells bread"
        with pytest.raises(RunFailed, match="not for sale"):
            await holdfast_client.run(run_shop, "air")
    assert LOG == ["corner takes back bread"]


async def test_an_open_run_finds_a_renamed_step_by_its_alias(holdfast_client: Client) -> None:
    with fresh_registry():

        @step(retry=QUICK, queue="elsewhere")
        async def run_old_name() -> str:
            return "done by the old one"

        @workflow
        async def run_renamed() -> str:
            return await run_old_name()

        async with Worker(holdfast_client, [run_renamed]):
            run = await holdfast_client.start(run_renamed)

            async def scheduled() -> bool:
                return bool((await run.describe()).steps)

            await eventually(scheduled)
    with fresh_registry():

        @step(aliases=["run_old_name"])
        async def run_new_name() -> str:
            return "done by the new one"

        async with Worker(holdfast_client, [run_new_name], queues=["elsewhere"]):
            pass_on = asyncio.create_task(run.result())
            with fresh_registry():

                @step(name="run_old_name", queue="elsewhere")
                async def run_again() -> str:
                    return ""

                @workflow(name="run_renamed")
                async def run_renamed_again() -> str:
                    return await run_again()

                async with Worker(holdfast_client, [run_renamed_again]):
                    assert await pass_on == "done by the new one"


async def test_a_step_of_another_queue_runs_there(holdfast_client: Client) -> None:
    with fresh_registry():

        @step(queue="gpu")
        async def run_far_away() -> str:
            return "far"

        @workflow
        async def run_two_queues() -> str:
            return await run_far_away()

        async with Worker(holdfast_client, [run_two_queues], queues=["default", "gpu"]):
            assert await holdfast_client.run(run_two_queues) == "far"


async def test_steps_called_by_steps_are_plain_functions(holdfast_client: Client) -> None:
    with fresh_registry():

        @step
        async def run_inner(number: int) -> int:
            return number + 1

        @step
        async def run_outer(number: int) -> int:
            return await run_inner(number) * 2

        @workflow
        async def run_nested() -> int:
            return await run_outer(1)

        async with Worker(holdfast_client, [run_nested]):
            run = await holdfast_client.start(run_nested)
            assert await run.result() == 4
            assert [found.name for found in (await run.describe()).steps] == ["run_outer"]


async def test_a_worker_refuses_duplicates_before_it_polls(holdfast_client: Client) -> None:
    with fresh_registry():

        @step(name="run_twice")
        async def one() -> None: ...

        @step(name="run_twice")
        async def other() -> None: ...

        with pytest.raises(InvalidStep, match="run_twice"):
            Worker(holdfast_client, [])
