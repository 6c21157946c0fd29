"""The time between the attempts of a step."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import activity

from holdfast import Client, RetryPolicy, Worker, step, workflow

DUE: list[datetime] = []

HASTY = RetryPolicy(max_attempts=2, first_delay=timedelta(milliseconds=10))
CALM = RetryPolicy(max_attempts=2, first_delay=timedelta(seconds=40))


@step(retry=HASTY)
async def fails_once(how: str) -> str:
    DUE.append(activity.info().current_attempt_scheduled_time)
    if len(DUE) == 1:
        raise ConnectionError("once")
    return how


@workflow
async def calls_with_patience(how: str) -> str:
    return await fails_once.with_options(retry=CALM)(how)


async def test_the_delay_is_that_of_the_call_and_not_of_the_declaration(holdfast_client: Client) -> None:
    DUE.clear()
    async with Worker(holdfast_client, [calls_with_patience]):
        assert await holdfast_client.run(calls_with_patience, "well") == "well"
    first, second = DUE
    assert CALM.first_delay * 0.8 < second - first < CALM.first_delay * 2
