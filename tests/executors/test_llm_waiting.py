"""Many callers under an endpoint's rate limit: each has its own place, and the limit is kept."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus

from holdfast import Client, RetryAfter, Worker
from holdfast.authoring.crowded import Crowded
from holdfast.testing import FakeLLM
from holdfast.testing.llm_limits import Limiter, LLMRateLimit
from holdfast_executors.llm_limits import Bucket
from holdfast_executors.llm_retry_after import retry_after

from . import llm_flows as flows

TOLD = LLMRateLimit(requests=10, per=timedelta(minutes=1))


class Simulated:
    """Callers of one endpoint, by a clock that only they move."""

    def __init__(self, limit: LLMRateLimit, *, tells: bool = True) -> None:
        self.now = 0.0
        self.bucket = Bucket(clock=self.clock)
        self.limiter = Limiter(limit, clock=self.clock)
        self.tells = tells
        self.answered: list[float] = []
        self.refused_count = 0
        self.waited: dict[str, int] = {}
        self.random = random.Random(7)

    def clock(self) -> float:
        return self.now

    async def ask(self, holder: str) -> float | None:
        """Seconds until it comes back; None when it has its answer."""
        try:
            await self.bucket.take(10, begun=False, holder=holder)
        except Crowded as crowded:
            self.waited[holder] = self.waited.get(holder, 0) + 1
            return crowded.delay.total_seconds()
        return self.send(holder)

    def send(self, holder: str) -> float | None:
        headers, fault = self.limiter.take()
        shown = headers if self.tells else {}
        if fault is None:
            self.bucket.learn(shown)
            self.answered.append(self.now)
            return None
        self.refused_count += 1
        delay = retry_after(fault.headers)
        assert delay is not None
        return self.bucket.refused(shown, delay, 10, holder=holder).total_seconds()

    async def run(self, callers: list[tuple[float, str]]) -> None:
        heapq.heapify(callers)
        while callers:
            at, holder = heapq.heappop(callers)
            self.now = max(self.now, at)
            delay = await self.ask(holder)
            if delay is not None:  # and a little later, as timers are
                heapq.heappush(callers, (self.now + delay + self.random.random(), holder))


@pytest.fixture
def nobody_waits_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast_executors.llm_limits.LONGEST_WAIT", timedelta(0))


@pytest.mark.usefixtures("nobody_waits_in_place")
async def test_fifty_that_wait_come_one_by_one_and_none_is_refused() -> None:
    endpoint = Simulated(TOLD)
    await endpoint.run([(0.0, "first")])
    await endpoint.run([(0.1, f"caller {number}") for number in range(50)])
    assert (len(endpoint.answered), endpoint.refused_count) == (51, 0)
    assert max(endpoint.waited.values()) == 1, "each is told its own time, and not to wait again"
    assert endpoint.answered[-1] <= 41 * 6 * 1.05 + 2, "and no time is given away"


@pytest.mark.usefixtures("nobody_waits_in_place")
async def test_fifty_that_were_sent_before_any_answer_are_refused_once_at_most() -> None:
    endpoint = Simulated(TOLD)
    callers = [f"caller {number}" for number in range(50)]
    for holder in callers:
        await endpoint.bucket.take(10, begun=False, holder=holder)
    delays = {holder: endpoint.send(holder) for holder in callers}
    assert endpoint.refused_count == 40
    await endpoint.run([(delay + 0.1, holder) for holder, delay in delays.items() if delay is not None])
    assert (len(endpoint.answered), endpoint.refused_count) == (50, 40)
    assert endpoint.waited == {}, "each has come at its own time, for good"


@pytest.mark.usefixtures("nobody_waits_in_place")
async def test_those_that_were_refused_get_places_of_their_own() -> None:
    now = 0.0
    bucket = Bucket(clock=lambda: now)
    headers = {
        "x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "60s",
    }  # fmt: skip
    delays = [
        bucket.refused(headers, timedelta(seconds=6), 10, holder=f"caller {number}").total_seconds()
        for number in range(40)
    ]
    assert delays[0] == pytest.approx(6, abs=0.1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(delays)]
    assert gaps == pytest.approx([6.06] * 39, abs=0.1)
    for number in range(21):
        now = delays[number] + 0.01
        await bucket.take(10, begun=True, holder=f"caller {number}")
    with pytest.raises(RetryAfter) as late:
        await bucket.take(10, begun=True, holder="a new one")
    assert late.value.delay.total_seconds() + now == pytest.approx(delays[-1] + 6.06, abs=0.5)


@pytest.mark.usefixtures("nobody_waits_in_place")
async def test_a_limit_that_an_endpoint_keeps_to_itself_is_felt_for() -> None:
    endpoint = Simulated(LLMRateLimit(requests=60, per=timedelta(minutes=1)), tells=False)
    await endpoint.run([(0.0, f"caller {number}") for number in range(200)])
    assert len(endpoint.answered) == 200
    assert endpoint.refused_count < 30, "those that wait do not find out one by one"
    assert endpoint.answered[-1] < 600


@pytest.mark.usefixtures("nobody_waits_in_place")
async def test_places_of_those_that_do_not_come_back_are_given_to_others() -> None:
    endpoint = Simulated(TOLD)
    for number in range(30):
        await endpoint.ask(f"gone {number}")
    endpoint.now = 400.0
    for number in range(10):
        assert await endpoint.ask(f"caller {number}") is None
    assert endpoint.refused_count == 0


async def test_who_gives_up_while_it_waits_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast_executors.llm_limits.LONGEST_WAIT", timedelta(hours=1))
    endpoint = Simulated(LLMRateLimit(requests=1, per=timedelta(minutes=1)))
    await endpoint.ask("first")
    waiting = [asyncio.create_task(endpoint.ask(f"caller {number}")) for number in range(20)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    monkeypatch.setattr("holdfast_executors.llm_limits.LONGEST_WAIT", timedelta(0))
    assert await endpoint.ask("last") == pytest.approx(60, abs=2)


async def scheduled_count(client: Client, run_id: str) -> int:
    history = await client.temporal.get_workflow_handle(run_id).fetch_history()
    return sum(event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED for event in history.events)


@pytest.mark.usefixtures("nobody_waits_in_place")
async def test_fifty_calls_of_a_run_wait_and_use_up_no_attempt(holdfast_client: Client) -> None:
    with FakeLLM(rate_limit=LLMRateLimit(requests=10, per=timedelta(seconds=2))) as fake:
        options: dict[str, str] = {}
        async with Worker(holdfast_client, [flows]):
            await holdfast_client.run(flows.ask, fake.base_url, options)
            runs = [await holdfast_client.start(flows.ask, fake.base_url, options) for _ in range(50)]
            async with asyncio.timeout(60):
                for run in runs:
                    # Who waits for a result makes time pass at once, and the endpoint's limit is one of real time.
                    handle = holdfast_client.temporal.get_workflow_handle(run.id)
                    while (await handle.describe()).status == WorkflowExecutionStatus.RUNNING:  # noqa: ASYNC110
                        await asyncio.sleep(0.2)
            assert all([(await run.result()).text for run in runs])
            counts = [await scheduled_count(holdfast_client, run.id) for run in runs]
            attempts = [(await run.describe()).steps[0].attempt for run in runs]
        assert [request.status for request in fake.requests] == [200] * 51
    assert set(attempts) == {1}
    assert max(counts) <= 3, "each comes back at its own time, and not again and again"


async def test_a_limit_of_a_model_with_fallbacks_keeps_no_places() -> None:
    bucket = Bucket(clock=lambda: 0.0)
    bucket.refused({}, timedelta(seconds=60), 10)
    for _ in range(20):
        with pytest.raises(Crowded) as crowded:
            await bucket.take(10, begun=False)
        assert crowded.value.delay.total_seconds() == pytest.approx(60, abs=2)
