"""Workflows on raw Temporal, as descriptions of runs read them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError

TIMEOUT = timedelta(seconds=30)
gate = asyncio.Event()


@activity.defn(name="charge")
async def charge(order: str) -> str:
    return f"paid {order}"


@activity.defn(name="charge.compensate")
async def refund(order: str, receipt: str | None) -> None:
    await gate.wait()


@activity.defn(name="ship")
async def ship(order: str) -> str:
    raise ApplicationError(
        "no stock", {"attempt": 1, "nothing_done": True}, type="OutOfStock", non_retryable=True
    )


@activity.defn(name="fetch")
async def fetch(url: str) -> str:
    if activity.info().attempt == 1:
        raise ConnectionError(f"cannot reach {url}")
    return "page"


@activity.defn(name="wait_at_gate")
async def wait_at_gate() -> None:
    await gate.wait()


@activity.defn(name="pause_briefly")
async def pause_briefly(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@activity.defn(name="holdfast.checkpoint")
async def checkpoint() -> None:
    pass


@workflow.defn(name="order")
class Order:
    @workflow.run
    async def run(self, order: str, big: str) -> str:
        first = await workflow.execute_activity(
            charge, order, activity_id="charge-1", start_to_close_timeout=TIMEOUT, summary="the money"
        )
        await workflow.execute_activity(charge, big, activity_id="charge-2", start_to_close_timeout=TIMEOUT)
        return first


@workflow.defn(name="saga")
class Saga:
    @workflow.run
    async def run(self, order: str) -> None:
        receipt = await workflow.execute_activity(
            charge, order, activity_id="charge-1", start_to_close_timeout=TIMEOUT
        )
        try:
            await workflow.execute_activity(ship, order, activity_id="ship-1", start_to_close_timeout=TIMEOUT)
        except Exception:
            workflow.upsert_memo({"holdfast.compensating": True})
            await workflow.execute_activity(
                refund,
                args=[order, receipt],
                activity_id="compensate:charge-1",
                start_to_close_timeout=TIMEOUT,
            )
            workflow.upsert_memo({"holdfast.compensating": None})
            raise


@workflow.defn(name="retries")
class Retries:
    @workflow.run
    async def run(self, first_delay_seconds: float) -> str:
        return await workflow.execute_activity(
            fetch,
            "http://example.com",
            activity_id="fetch-1",
            start_to_close_timeout=TIMEOUT,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=first_delay_seconds), backoff_coefficient=1
            ),
        )


@workflow.defn(name="locals")
class Locals:
    @workflow.run
    async def run(self) -> None:
        async def local(name: str, arg: Any, number: int) -> None:
            await workflow.execute_local_activity(
                name,
                arg,
                activity_id=f"{name}-{number}",
                start_to_close_timeout=TIMEOUT,
                local_retry_threshold=timedelta(milliseconds=10),
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=300)),
            )

        await local("pause_briefly", 0.1, 1)
        await asyncio.gather(local("pause_briefly", 0.1, 2), local("pause_briefly", 0.3, 3))
        await workflow.execute_activity(
            checkpoint, activity_id="holdfast.checkpoint-1", start_to_close_timeout=TIMEOUT
        )
        await local("fetch", "http://example.com", 1)


@workflow.defn(name="waits")
class Waits:
    def __init__(self) -> None:
        self.decided = False

    @workflow.run
    async def run(self) -> str:
        wait = {
            "name": "ship-it",
            "kind": "approval",
            "prompt": "Ship it?",
            "form": {"type": "boolean"},
            "deadline": (workflow.now() + timedelta(days=2)).isoformat(),
            "since": workflow.now().isoformat(),
        }
        workflow.upsert_memo({"holdfast.waits": [wait]})
        await workflow.wait_condition(
            lambda: self.decided, timeout=timedelta(days=2), timeout_summary="approval ship-it"
        )
        workflow.upsert_memo({"holdfast.waits": None})
        return "shipped"

    @workflow.signal
    def decide(self) -> None:
        self.decided = True

    @workflow.signal(dynamic=True)
    def other(self, name: str, args: Sequence[RawValue]) -> None:
        pass


@workflow.defn(name="sleeps")
class Sleeps:
    @workflow.run
    async def run(self, seconds: float) -> None:
        await workflow.sleep(seconds)


@workflow.defn(name="listens")
class Listens:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


@workflow.defn(name="gated")
class Gated:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            wait_at_gate,
            activity_id="wait_at_gate-1",
            start_to_close_timeout=TIMEOUT,
            heartbeat_timeout=timedelta(seconds=20),
        )


@workflow.defn(name="parent")
class Parent:
    @workflow.run
    async def run(self, child_id: str) -> None:
        await workflow.execute_child_workflow(Listens.run, id=child_id)


@workflow.defn(name="continues")
class Continues:
    @workflow.run
    async def run(self, left: int) -> int:
        if left:
            workflow.continue_as_new(left - 1)
        return left


FLOWS = [Order, Saga, Retries, Locals, Waits, Sleeps, Listens, Gated, Parent, Continues]
STEPS: list[Callable[..., Any]] = [charge, refund, ship, fetch, wait_at_gate, pause_briefly, checkpoint]
