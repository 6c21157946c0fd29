"""Records the histories that `test_history_graph` draws: `python -m tests.engine.record_drawn`.

Workflows of plain temporalio, with none of Holdfast's ids or memos.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from holdfast import Client as HoldfastClient

FOLDER = Path(__file__).parents[1] / "histories" / "drawn"
QUEUE = "drawn"
STEPS = (
    "fetch",
    "price",
    "stock",
    "address",
    "ship",
    "parse",
    "store",
    "scan",
    "match",
    "file",
    "total",
    "undo",
)


def _step(name: str) -> Any:
    @activity.defn(name=name)
    async def run(value: Any = None, seconds: float = 0.0) -> str:
        await asyncio.sleep(seconds)
        if value == "broken":
            raise ApplicationError("broken", type="Broken", non_retryable=True)
        return f"{name} of {value}"

    return run


@activity.defn(name="flaky")
async def flaky(value: Any, seconds: float) -> str:
    if activity.info().attempt < 3:
        raise ConnectionError("again")
    return "at last"


@activity.defn(name="check")
async def check(round: int) -> bool:
    return round >= 12


async def call(name: str, value: Any = None, seconds: float = 0.0) -> Any:
    return await workflow.execute_activity(
        name,
        args=[value, seconds],
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
    )


@workflow.defn(name="diamond")
class Diamond:
    @workflow.run
    async def run(self) -> None:
        await call("fetch")
        await asyncio.gather(call("price", 1), call("stock", 2, 0.1), call("address", 3, 0.05))
        await call("ship")


@workflow.defn(name="chains")
class Chains:
    @workflow.run
    async def run(self, seconds: float) -> None:
        async def chain(names: list[str]) -> Any:
            value = names[0]
            for name in names:
                value = await call(name, value, seconds)
            return value

        both = await asyncio.gather(chain(["fetch", "parse", "store"]), chain(["scan", "match", "file"]))
        await call("total", both)


@workflow.defn(name="mapped")
class Mapped:
    @workflow.run
    async def run(self, count: int, at_a_time: int) -> None:
        turn = asyncio.Semaphore(at_a_time)

        async def one(index: int) -> Any:
            async with turn:
                parsed = await call("parse", index, 0.01 * (index % 3))
                return await call("store", parsed)

        await asyncio.gather(*(one(index) for index in range(count)), return_exceptions=True)
        await call("total")


@workflow.defn(name="polls")
class Polls:
    @workflow.run
    async def run(self) -> None:
        await call("fetch")
        for round in range(20):
            if await workflow.execute_activity(check, round, start_to_close_timeout=timedelta(seconds=9)):
                break
            await asyncio.sleep(0.01 * (1 + round))
        await call("store")


@workflow.defn(name="messages")
class Messages:
    def __init__(self) -> None:
        self.paid = self.agreed = False

    @workflow.run
    async def run(self) -> None:
        await call("price")
        await workflow.wait_condition(lambda: self.paid, timeout=timedelta(days=1))
        await call("stock")
        await workflow.wait_condition(lambda: self.agreed)
        await call("ship")
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def pay(self) -> None:
        self.paid = True

    @workflow.update
    def agree(self) -> None:
        self.agreed = True


@workflow.defn(name="saga")
class Saga:
    @workflow.run
    async def run(self) -> None:
        await call("price", "book")
        try:
            await call("ship", "broken")
        except Exception:
            await call("undo", "book")
            raise


@workflow.defn(name="parent")
class Parent:
    @workflow.run
    async def run(self) -> None:
        await call("fetch")
        await asyncio.gather(
            workflow.execute_child_workflow(Saga.run),
            workflow.execute_child_workflow(Diamond.run),
            return_exceptions=True,
        )
        await call("store")


@workflow.defn(name="again")
class Again:
    @workflow.run
    async def run(self, left: int) -> None:
        await call("fetch" if left else "store")
        if left:
            workflow.continue_as_new(left - 1)


@workflow.defn(name="locally")
class Locally:
    @workflow.run
    async def run(self) -> None:
        async def local(name: str, seconds: float = 0.0) -> Any:
            return await workflow.execute_local_activity(
                name, args=[name, seconds], start_to_close_timeout=timedelta(seconds=9)
            )

        await local("fetch")
        await asyncio.gather(local("price", 0.02), local("stock", 0.04))
        await local("parse")
        await call("store")


@workflow.defn(name="retries")
class Retries:
    @workflow.run
    async def run(self) -> None:
        await asyncio.wait_for(call("flaky"), timeout=60)
        with contextlib.suppress(TimeoutError, ActivityError):
            await asyncio.wait_for(call("fetch", "slow", 2.0), timeout=0.05)
        await call("store")


FLOWS = [Diamond, Chains, Mapped, Polls, Messages, Saga, Parent, Again, Locally, Retries]


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    async with (
        HoldfastClient.embedded(home=None) as holdfast,
        Worker(
            holdfast.temporal,
            task_queue=QUEUE,
            workflows=FLOWS,
            activities=[*map(_step, STEPS), flaky, check],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_activities=200,
        ),
    ):
        client = holdfast.temporal
        plans: dict[str, tuple[Any, list[Any]]] = {
            "diamond": (Diamond, []),
            "chains": (Chains, [0.03]),
            "mapped": (Mapped, [50, 50]),
            "pooled": (Mapped, [40, 8]),
            "polls": (Polls, []),
            "saga": (Saga, []),
            "parent": (Parent, []),
            "locally": (Locally, []),
            "retries": (Retries, []),
        }
        for name, (flow, args) in plans.items():
            handle = await client.start_workflow(flow.run, args=args, id=name, task_queue=QUEUE)
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
            await save(handle, name)
        await record_messages(client)
        first = await client.start_workflow(Again.run, 2, id="again", task_queue=QUEUE)
        await first.result()
        run_id: str | None = first.first_execution_run_id
        for number in range(1, 4):
            handle = client.get_workflow_handle("again", run_id=run_id)
            await save(handle, f"again-{number}")
            closed = (await handle.fetch_history()).events[-1]
            run_id = closed.workflow_execution_continued_as_new_event_attributes.new_execution_run_id


async def record_messages(client: Client) -> None:
    handle = await client.start_workflow(Messages.run, id="messages", task_queue=QUEUE)
    await asyncio.sleep(0.3)
    await handle.signal(Messages.pay)
    await asyncio.sleep(0.3)
    await handle.execute_update("agree")  # pyright: ignore[reportUnknownMemberType]
    await asyncio.sleep(0.3)
    await save(handle, "messages")
    await handle.terminate()


async def save(handle: WorkflowHandle[Any, Any], name: str) -> None:
    history = await handle.fetch_history()
    (FOLDER / f"{name}.json").write_text(history.to_json() + "\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
