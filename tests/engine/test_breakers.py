"""Circuit breakers over all workers, as runs and steps meet them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from holdfast import (
    Breaker,
    Client,
    InvalidConfiguration,
    Permanent,
    RetryPolicy,
    RunFailed,
    Worker,
    step,
    step_info,
    workflow,
)
from holdfast.client.breakers import BreakerInfo
from holdfast.engine.breaker_run import LEASE_SECONDS, Circuit, Said, What
from holdfast.options import StepOptions

QUICK = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=50))


class Service:
    """A service that fails as long as it is told to, and notes who called."""

    def __init__(self) -> None:
        self.down: dict[str, int] = {}
        self.calls: dict[str, list[str]] = {}

    def call(self, key: str) -> str:
        info = step_info()
        self.calls.setdefault(key, []).append(f"{info.run_id}/{info.attempt}")
        if self.down.get(key, 0) > 0:
            self.down[key] -= 1
            raise ConnectionError(f"{key} is down")
        return key


SERVICE = Service()


@step(breaker=Breaker(key="{key}", failures=2, reset=timedelta(seconds=40)), retry=QUICK)
async def broken_call(key: str) -> str:
    return SERVICE.call(key)


@step(breaker=Breaker(key="{key}", failures=2, reset=timedelta(seconds=40)), retry=QUICK)
def broken_call_on_a_thread(key: str) -> str:
    return SERVICE.call(key)


@step(breaker=Breaker(key="{key}", failures=2, reset=timedelta(seconds=40)), retry=QUICK)
async def refused_call(key: str) -> str:
    SERVICE.call(key)
    raise Permanent("no such account")


@workflow
async def calls_broken(key: str) -> str:
    return await broken_call(key)


@workflow
async def calls_broken_on_a_thread(key: str) -> str:
    return await broken_call_on_a_thread(key)


@workflow
async def calls_refused(key: str) -> str:
    return await refused_call(key)


FLOWS = [calls_broken, calls_broken_on_a_thread, calls_refused]


def say(circuit: Circuit, what: What, at: float, holder: str = "a") -> float | None:
    return circuit.hear(Said(what=what, holder=holder, failures=2, reset=30, at=0), at)


def test_it_opens_after_failures_in_a_row_and_closes_after_one_call_that_works() -> None:
    circuit = Circuit()
    assert say(circuit, "failed", 1) is None
    assert say(circuit, "succeeded", 2) is None
    assert say(circuit, "failed", 3) is None, "in a row"
    assert say(circuit, "failed", 4) == 30
    assert circuit.state(5) == "open"
    assert say(circuit, "asks", 14) == 20
    assert say(circuit, "succeeded", 15) == 19, "it began before the breaker opened"
    assert say(circuit, "asks", 34, "b") is None
    assert circuit.state(34) == "half-open"
    assert say(circuit, "asks", 35, "c") is not None, "one tries at a time"
    assert say(circuit, "succeeded", 36, "b") is None
    assert circuit.state(36) == "closed"


def test_failures_that_are_old_do_not_count() -> None:
    circuit = Circuit()
    say(circuit, "failed", 1)
    assert say(circuit, "failed", 32) is None


def test_a_try_that_fails_opens_it_again_and_one_that_is_lost_is_replaced() -> None:
    circuit = Circuit()
    say(circuit, "failed", 1)
    say(circuit, "failed", 1)
    assert say(circuit, "asks", 31, "b") is None
    assert say(circuit, "failed", 32, "b") == 30, "one failure is enough"
    assert say(circuit, "asks", 62, "c") is None
    say(circuit, "tries", 70, "c")
    assert say(circuit, "asks", 70 + LEASE_SECONDS - 1, "d") is not None, "it is still at work"
    assert say(circuit, "asks", 70 + LEASE_SECONDS, "d") is None, "its worker is gone"
    say(circuit, "gone", 90, "d")
    assert say(circuit, "asks", 90, "e") is None


async def test_an_open_breaker_delays_and_uses_up_no_attempts(holdfast_client: Client) -> None:
    SERVICE.down["bank"] = 2
    async with Worker(holdfast_client, FLOWS):
        assert await holdfast_client.run(calls_broken, "bank", id="breaks-it") == "bank"
        first = list(SERVICE.calls["bank"])
        SERVICE.down["bank"] = 2
        both = await asyncio.gather(
            holdfast_client.run(calls_broken, "bank", id="one"),
            holdfast_client.run(calls_broken_on_a_thread, "bank", id="other"),
        )
    assert first == ["breaks-it/1", "breaks-it/2", "breaks-it/3"]
    assert list(both) == ["bank", "bank"]


async def test_other_workers_do_not_call_what_one_has_found_broken(holdfast_client: Client) -> None:
    SERVICE.down["mail"] = 2
    async with Worker(holdfast_client, FLOWS, queues=["first"]):
        run = await holdfast_client.start(calls_broken, "mail", queue="first", id="finds-out")
        while len(SERVICE.calls.get("mail", [])) < 2:  # noqa: ASYNC110 - what is asked is elsewhere
            await asyncio.sleep(0.05)
        shown = await _shown(holdfast_client, "mail")
        assert shown.state == "open"
        assert shown.opened == 1
        async with Worker(holdfast_client, FLOWS, queues=["second"]) as second:
            # What a worker that has used the key lately learns in the background.
            await second._limits.breakers.look(Breaker(key="mail"))
            late = await holdfast_client.start(calls_broken, "mail", queue="second", id="is-told")
            while "circuit breaker 'mail'" not in ((await late.describe()).waiting_for or ""):  # noqa: ASYNC110 - what is asked is elsewhere
                await asyncio.sleep(0.05)
            assert len(SERVICE.calls["mail"]) == 2, "nobody called meanwhile"
            assert (await holdfast_client.runs.stuck())[0].cause in {"breaker", "backoff"}
            assert await late.result() == "mail"
        assert await run.result() == "mail"
    assert (await _shown(holdfast_client, "mail")).state == "closed"


async def _shown(client: Client, key: str) -> BreakerInfo:
    return next(one for one in await client.breakers.list() if one.key == key)


async def test_what_is_refused_for_its_input_opens_nothing_and_what_works_asks_nobody(
    holdfast_client: Client,
) -> None:
    async with Worker(holdfast_client, FLOWS):
        for number in range(3):
            with pytest.raises(RunFailed, match="no such account"):
                await holdfast_client.run(calls_refused, "strict", id=f"refused-{number}")
            await holdfast_client.run(calls_broken, "sound", id=f"sound-{number}")
    assert await holdfast_client.breakers.list() == []
    assert len(SERVICE.calls["strict"]) == 3


def test_options_that_cannot_work_are_refused() -> None:
    assert StepOptions(breaker=Breaker(key="a")).breaker == Breaker(key="a")
    with pytest.raises(InvalidConfiguration, match="one of: email, payment, api, db"):
        step(breaker="nobody")(lambda: None)
    with pytest.raises(InvalidConfiguration, match="drop local and deferred"):
        StepOptions(breaker=Breaker(key="a"), local=True)
    with pytest.raises(InvalidConfiguration, match="has a key"):
        Breaker(key="")
    with pytest.raises(InvalidConfiguration, match="use 1 to 100"):
        Breaker(key="a", failures=0)
    with pytest.raises(InvalidConfiguration, match="at most 1:00:00"):
        Breaker(key="a", reset=timedelta(hours=2))
