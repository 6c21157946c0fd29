"""`@chaos` around tests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast import Client, InvalidConfiguration, RetryPolicy, RunFailed, Worker, step, workflow
from holdfast.chaos.plan import FaultPlan
from holdfast.chaos.profiles import Profile
from holdfast.testing import chaos

OFTEN = Profile(name="often", error=0.5)
ALWAYS = Profile(name="always", error=1.0)
QUICK = RetryPolicy(max_attempts=20, first_delay=timedelta(milliseconds=10))


@step(retry=QUICK)
async def disturbed_in_tests(part: int) -> int:
    return part


@step(retry="none")
async def disturbed_once_in_tests() -> int:
    return 1


@workflow
async def adds_up() -> int:
    return sum([await disturbed_in_tests(part) for part in range(8)])


@workflow
async def has_one_attempt() -> int:
    return await disturbed_once_in_tests()


async def _faults(client: Client) -> list[tuple[str, int]]:
    async with Worker(client, [adds_up]):
        assert await client.run(adds_up, id="always-the-same") == 28
    return sorted((one.call, one.attempt) for one in (await client.chaos.stats()).latest)


@chaos(OFTEN, seed=7)
async def faults_of_seed_7(client: Client) -> list[tuple[str, int]]:
    return await _faults(client)


@chaos(OFTEN, seed=7)
def faults_without_async(client: Client) -> list[tuple[str, int]]:
    return asyncio.run(_faults(client))


@chaos(ALWAYS, seed=1)
async def cannot_hold(client: Client) -> None:
    async with Worker(client, [has_one_attempt]):
        await client.run(has_one_attempt)


@chaos("gentle")
async def without_a_client() -> None: ...


def expected(seed: int) -> list[tuple[str, int]]:
    """What the plan of a seed has for the run: errors until an attempt that has none."""
    plan, found = FaultPlan(replace(OFTEN, max_events=None), seed), list[tuple[str, int]]()
    for call in (f"disturbed_in_tests-{number}" for number in range(1, 9)):
        attempt = 1
        while plan.fault("always-the-same", "disturbed_in_tests", call, attempt):
            found.append((call, attempt))
            attempt += 1
    return sorted(found)


async def test_what_the_seed_says_happens(holdfast_client: Client) -> None:
    folder = holdfast_client.chaos.folder
    assert expected(7) != expected(8)
    assert await faults_of_seed_7(holdfast_client) == expected(7)
    assert not folder.exists(), "nothing is left behind"


def test_the_same_holds_for_a_test_without_async(holdfast_client: Client) -> None:
    assert faults_without_async(holdfast_client) == expected(7)


async def test_the_seed_stands_below_the_error(holdfast_client: Client) -> None:
    with pytest.raises(RunFailed, match="chaos has failed this attempt") as found:
        await cannot_hold(holdfast_client)
    assert found.value.__notes__ == ["chaos: 1 error; the same faults again: @chaos('always', seed=1)"]


async def test_it_ends_with_the_test(holdfast_client: Client) -> None:
    with pytest.raises(RunFailed):
        await cannot_hold(holdfast_client)
    async with Worker(holdfast_client, [has_one_attempt]):
        assert await holdfast_client.run(has_one_attempt) == 1


async def test_a_test_without_a_client_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="take holdfast_client"):
        await without_a_client()
