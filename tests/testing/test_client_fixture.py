"""`holdfast_client`: a server of its own for each test, at the price of a namespace, and time that is skipped."""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import timedelta

import pytest

from holdfast import (
    Client,
    Decision,
    RetryPolicy,
    RunClosed,
    WaitTimeout,
    Worker,
    approval,
    continue_as_new,
    now,
    step,
    step_info,
    workflow,
)
from holdfast.testing import fast_forward, memory

DAYS = timedelta(days=2)


@step
async def shout(text: str) -> str:
    return text.upper()


@workflow
async def greet(name: str) -> str:
    return await shout(f"hello {name}")


@workflow
async def ask(question: str) -> Decision:
    return await approval(question, name="ask", timeout=DAYS)


@workflow
async def give_up(question: str) -> str:
    before = now()
    try:
        await approval(question, timeout=DAYS)
    except WaitTimeout:
        return str((now() - before).days)
    return "answered"


@workflow
async def nap() -> int:
    before = now()
    await asyncio.sleep(DAYS.total_seconds())
    return (now() - before).days


@workflow
async def nap_in_child() -> int:
    return await nap()


@workflow
async def nap_again(left: int, days: int = 0) -> int:
    before = now()
    await asyncio.sleep(DAYS.total_seconds())
    days += (now() - before).days
    if left > 1:
        continue_as_new(left - 1, days)
    return days


@step(retry=RetryPolicy(max_attempts=2, first_delay=timedelta(days=1), max_delay=timedelta(days=1)))
async def fail_once() -> int:
    if step_info().attempt == 1:
        raise ConnectionError
    return step_info().attempt


@workflow
async def retry_tomorrow() -> int:
    return await fail_once()


async def test_a_run_completes(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [greet]):
        assert await holdfast_client.run(greet, "you") == "HELLO YOU"


async def test_two_days_without_an_answer_take_under_three_seconds(holdfast_client: Client) -> None:
    begun = time.monotonic()
    async with Worker(holdfast_client, [give_up]):
        assert await holdfast_client.run(give_up, "Ship it?") == "2"
    assert time.monotonic() - begun < 3


async def test_time_stands_until_the_test_waits_for_the_result(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [ask]):
        run = await holdfast_client.start(ask, "Ship it?")
        await asyncio.sleep(2)
        assert await holdfast_client.approvals.decide(run.id, "ask", approved=True) == "delivered"
        assert (await run.result()).approved


async def test_a_child_that_sleeps_already_is_woken_too(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [nap, nap_in_child]):
        run = await holdfast_client.start(nap_in_child)
        await asyncio.sleep(0.3)
        assert await run.result(timeout=timedelta(seconds=10)) == 2


async def test_time_is_skipped_after_continue_as_new_and_between_attempts(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [nap_again, retry_tomorrow]):
        both = holdfast_client.run(nap_again, 2), holdfast_client.run(retry_tomorrow)
        assert await asyncio.wait_for(asyncio.gather(*both), 15) == [4, 2]


async def test_time_goes_forward_as_far_as_asked(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [ask]):
        run = await holdfast_client.start(ask, "Ship it?")
        await fast_forward(run, timedelta(hours=47))
        await holdfast_client.approvals.decide(run.id, "ask", approved=True)
        assert (await run.result()).approved


async def test_ids_and_queues_of_tests_never_meet_1(holdfast_client: Client) -> None:
    run = await holdfast_client.start(greet, "you", id="the-same")
    assert run.id == "the-same"


async def test_ids_and_queues_of_tests_never_meet_2(holdfast_client: Client) -> None:
    await test_ids_and_queues_of_tests_never_meet_1(holdfast_client)


async def test_a_run_that_stays_open_disturbs_nobody(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [ask]):
        run = await holdfast_client.start(ask, "Ship it?")
        assert await run.state() is None  # answered by the worker, which so holds the run
    gc.collect()


def test_a_test_without_async_plugin_can_use_it(holdfast_client: Client) -> None:
    async def main() -> str:
        async with Worker(holdfast_client, [greet]):
            return await holdfast_client.run(greet, "you")

    assert asyncio.run(main()) == "HELLO YOU"


async def test_time_of_an_ended_run_does_not_go_forward(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [greet]):
        run = await holdfast_client.start(greet, "you")
        await run.result()
    with pytest.raises(RunClosed, match="has ended"):
        await fast_forward(run, DAYS)


def test_a_new_server_takes_over_when_one_is_full_and_nobody_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CLIENTS_PER_SERVER", 1)
    server = memory.MemoryServer()
    try:
        with server.client() as one, server.client() as two:
            first = server.server_pid
            assert (one.address, one.namespace) != (two.address, two.namespace)
            assert one.address == two.address
        with server.client():
            assert server.server_pid != first
    finally:
        server.close()
