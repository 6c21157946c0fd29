"""Circuit breakers over all workers, as runs and steps meet them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client as TemporalClient

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


HANGS = asyncio.Event()


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


@step(breaker=Breaker(key="slow", failures=1, reset=timedelta(seconds=1)), retry=QUICK)
async def slow_call() -> str:
    if len(SERVICE.calls.get("slow", [])) == 1:
        SERVICE.calls["slow"].append("tries")
        await HANGS.wait()
    return SERVICE.call("slow")


@step
async def other_call() -> str:
    return "other"


@workflow
async def calls_slow() -> str:
    return await slow_call()


@workflow
async def calls_others() -> list[str]:
    return [await other_call() for _ in range(3)]


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
        while (shown := await _shown(holdfast_client, "mail")) is None or shown.state != "open":  # noqa: ASYNC110 - what is asked is elsewhere
            await asyncio.sleep(0.05)
        assert (shown.opened, len(SERVICE.calls["mail"])) == (1, 2)
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
    closed = await _shown(holdfast_client, "mail")
    assert closed is not None
    assert closed.state == "closed"


async def _shown(client: Client, key: str) -> BreakerInfo | None:
    return next((one for one in await client.breakers.list() if one.key == key), None)


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


async def test_a_closed_breaker_hears_nothing_of_calls_that_work(holdfast_client: Client) -> None:
    async def heard() -> int | None:
        handle = holdfast_client.temporal.get_workflow_handle("holdfast-breaker/sound-again")
        return (await handle.describe()).history_length

    SERVICE.down["sound-again"] = 1
    async with Worker(holdfast_client, FLOWS):
        await holdfast_client.run(calls_broken, "sound-again", id="fails-once")
        (shown,) = await holdfast_client.breakers.list()
        assert (shown.key, shown.state, shown.failures) == ("sound-again", "closed", 0)
        before = await heard()
        for number in range(5):
            await holdfast_client.run(calls_broken, "sound-again", id=f"works-{number}")
        assert await heard() == before
    assert len(SERVICE.calls["sound-again"]) == 7


async def test_those_who_wait_for_a_long_try_leave_slots_to_others(temporal: TemporalClient) -> None:
    SERVICE.down["slow"] = 1
    async with (  # a server whose time is real: no lease ends since a test waits
        Client.connect(temporal.service_client.config.target_host) as client,
        Worker(client, [calls_slow, calls_others], max_steps=10) as worker,
    ):
        waiting = [await client.start(calls_slow, id="slow-0")]
        while len(SERVICE.calls.get("slow", [])) < 2:  # noqa: ASYNC110 - what is asked is elsewhere
            await asyncio.sleep(0.05)  # it fails, and is the one that tries
        waiting += [await client.start(calls_slow, id=f"slow-{number}") for number in range(1, 20)]
        other, in_place = asyncio.create_task(client.run(calls_others)), set[int]()
        try:
            async with asyncio.timeout(120):
                while not other.done() or len(in_place) < 2:
                    in_place.add(worker._limits.breakers._known["slow"].in_place)
                    await asyncio.sleep(0.05)
            assert other.result() == ["other"] * 3
            assert 0 < max(in_place) <= 5
            assert len(SERVICE.calls["slow"]) == 2, "one tries"
        finally:
            HANGS.set()
        assert await asyncio.wait_for(waiting[0].result(), 60) == "slow"
        ended = [run.terminate("the test is over") for run in waiting]  # those that have not ended
        await asyncio.gather(*ended, return_exceptions=True)


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
