"""Every way in which a run hangs, on a real server: it says why, and is no longer stuck once mended."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import PendingWorkflowTaskState, TaskQueueType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    DescribeWorkflowExecutionResponse,
)
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from holdfast.client.description import RunDescription
from holdfast.engine.history import describe_execution, describe_run, last_events, why_stuck
from holdfast.engine.history.facts import TaskFailure
from holdfast.engine.history.payloads import Opened
from holdfast.engine.history.stuck import failing_task
from holdfast.states import RunState, StepState

TIMEOUT = timedelta(seconds=30)
MENDED = "The run goes on by itself once mended."


@activity.defn(name="charge")
async def charge() -> str:
    return "paid"


@activity.defn(name="ship")
async def ship() -> None:
    pass


@workflow.defn(name="order")
class Order:
    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(1)
        return await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="order")
class ChangedOrder:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(charge, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="order")
class BlockingOrder:
    @workflow.run
    async def run(self) -> str:
        time.sleep(3)  # noqa: ASYNC251 - this is what blocks the loop
        return ""


@workflow.defn(name="order")
class RaisingOrder:
    @workflow.run
    async def run(self) -> str:
        raise KeyError("total")


@workflow.defn(name="elsewhere")
class Elsewhere:
    @workflow.run
    async def run(self, queue: str) -> None:
        await workflow.execute_activity(ship, task_queue=queue, start_to_close_timeout=TIMEOUT)


@workflow.defn(name="idle")
class Idle:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(3600)


@asynccontextmanager
async def worker(
    client: Client, queue: str, *flows: type, steps: Sequence[Any] = (charge,)
) -> AsyncIterator[None]:
    async with Worker(
        client,
        task_queue=queue,
        workflows=flows,
        activities=steps,
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=0,
        graceful_shutdown_timeout=timedelta(0),
    ):
        yield


@pytest.fixture
def queue() -> str:
    return f"queue-{uuid.uuid4()}"


async def start(client: Client, queue: str, flow: Any, *args: Any) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(flow.run, args=args, id=f"run-{uuid.uuid4()}", task_queue=queue)


async def until_waiting(client: Client, handle: WorkflowHandle[Any, Any]) -> None:
    for _ in range(200):
        if (await describe_run(client, handle.id)).state is RunState.WAITING:
            return
        await asyncio.sleep(0.05)
    pytest.fail("it does not come to wait")


async def when_stuck(client: Client, handle: WorkflowHandle[Any, Any]) -> RunDescription:
    for _ in range(200):
        described = await describe_run(client, handle.id)
        if described.stuck:
            assert described.state is RunState.STUCK
            assert described.waiting_for == described.stuck
            assert MENDED in described.stuck
            await also_from_the_tail(client, handle)
            return described
        await asyncio.sleep(0.1)
    pytest.fail(f"it is not stuck: {described}")


async def also_from_the_tail(client: Client, handle: WorkflowHandle[Any, Any]) -> None:
    description = await describe_execution(client, handle.id)
    tail = await last_events(client, handle.id, count=5)
    assert await why_stuck(client, description, tail)


async def test_changed_code_is_told_and_goes_on_after_a_roll_back(temporal: Client, queue: str) -> None:
    async with worker(temporal, queue, Order):
        handle = await start(temporal, queue, Order)
        await until_waiting(temporal, handle)
    async with worker(temporal, queue, ChangedOrder):
        run = await when_stuck(temporal, handle)
        assert run.stuck is not None
        assert "no longer fits its history (non-determinism): [TMPRL1100]" in run.stuck
        assert "Roll back, or let the run finish under the old code." in run.stuck
    async with worker(temporal, queue, Order):
        assert await handle.result() == "paid"
    run = await describe_run(temporal, handle.id)
    assert (run.state, run.stuck) == (RunState.COMPLETED, None)


async def test_a_queue_without_workers_is_told(temporal: Client, queue: str) -> None:
    handle = await start(temporal, queue, Order)
    run = await when_stuck(temporal, handle)
    assert run.stuck == f"no worker polls queue {queue!r}. Start one with workflow 'order'. {MENDED}"
    async with worker(temporal, queue, Order):
        assert await handle.result() == "paid"


async def test_a_waiting_run_needs_no_worker_until_its_timer_fires(temporal: Client, queue: str) -> None:
    async with worker(temporal, queue, Idle):
        handle = await start(temporal, queue, Idle)
        await until_waiting(temporal, handle)
    await asyncio.sleep(1.2)
    assert (await describe_run(temporal, handle.id)).state is RunState.WAITING


async def test_an_unknown_workflow_is_told(temporal: Client, queue: str) -> None:
    async with worker(temporal, queue, Idle):
        handle = await start(temporal, queue, Order)
        run = await when_stuck(temporal, handle)
        assert run.stuck is not None
        assert run.stuck.startswith(f"the workers on queue {queue!r} do not know workflow 'order': ")
        assert "available workflows: idle" in run.stuck


async def test_an_unknown_step_is_told(temporal: Client, queue: str) -> None:
    async with worker(temporal, queue, Elsewhere, steps=[charge]):
        handle = await start(temporal, queue, Elsewhere, queue)
        run = await when_stuck(temporal, handle)
        assert run.stuck is not None
        assert run.stuck.startswith(f"the workers on queue {queue!r} do not know step 'ship': ")
        assert run.steps[0].state in {StepState.RETRYING, StepState.PENDING, StepState.RUNNING}


async def test_a_step_for_a_queue_without_workers_is_told(temporal: Client, queue: str) -> None:
    async with worker(temporal, queue, Elsewhere):
        handle = await start(temporal, queue, Elsewhere, f"{queue}-other")
        run = await when_stuck(temporal, handle)
        assert run.stuck is not None
        assert run.stuck.startswith(f"no worker polls queue '{queue}-other', and step 'ship' waits there.")
        async with worker(temporal, f"{queue}-other", steps=[ship]):
            await handle.result()


async def test_workflow_code_that_blocks_is_told(temporal: Client, queue: str) -> None:
    async with worker(temporal, queue, BlockingOrder):
        handle = await start(temporal, queue, BlockingOrder)
        run = await when_stuck(temporal, handle)
        assert run.stuck is not None
        assert "workflow code blocked the worker's loop: [TMPRL1101]" in run.stuck
        await handle.terminate()


async def test_a_workflow_task_that_fails_otherwise_names_the_error(temporal: Client, queue: str) -> None:
    async with worker(temporal, queue, RaisingOrder):
        handle = await start(temporal, queue, RaisingOrder)
        run = await when_stuck(temporal, handle)
        assert run.stuck is not None
        assert "fails on every attempt with KeyError: 'total'" in run.stuck


class LostKey(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/sealed"}, data=p.SerializeToString()) for p in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if any(payload.metadata.get("encoding") == b"binary/sealed" for payload in payloads):
            raise RuntimeError("the payload is encrypted with key 'old', which this process does not have")
        return list(payloads)


async def test_a_payload_that_cannot_be_decrypted_is_told(temporal: Client, queue: str) -> None:
    sealed = await Client.connect(
        temporal.service_client.config.target_host, data_converter=DataConverter(payload_codec=LostKey())
    )
    async with worker(sealed, queue, Elsewhere):
        handle = await start(sealed, queue, Elsewhere, queue)
        run = await when_stuck(sealed, handle)
        assert run.stuck is not None
        assert "the worker cannot read a payload of the run: " in run.stuck
        assert "key 'old'" in run.stuck
        assert str(run.input[0]).startswith("<cannot be read here: the payload is encrypted")


# Ages that a test cannot wait for: pollers as the server would list them


class Service:
    """Answers questions about queues, and counts them."""

    def __init__(self, **seen_ago: float) -> None:
        self.seen_ago = seen_ago
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    async def describe_task_queue(self, request: DescribeTaskQueueRequest) -> DescribeTaskQueueResponse:
        kind = TaskQueueType.Name(request.task_queue_type).removeprefix("TASK_QUEUE_TYPE_").lower()
        pollers = (
            [PollerInfo(identity="worker-1", last_access_time=self.ago(self.seen_ago[kind]))]
            if kind in self.seen_ago
            else []
        )
        return DescribeTaskQueueResponse(pollers=pollers)

    def ago(self, seconds: float) -> Timestamp:
        stamp = Timestamp()
        stamp.FromDatetime(self.now - timedelta(seconds=seconds))
        return stamp


class FakeClient:
    namespace = "default"
    data_converter = DataConverter()

    def __init__(self, service: Service) -> None:
        self.workflow_service = service


def running(**pending: Any) -> DescribeWorkflowExecutionResponse:
    description = DescribeWorkflowExecutionResponse(**pending)
    info = description.workflow_execution_info
    info.status, info.task_queue, info.type.name = 1, "orders", "order"  # type: ignore[assignment]
    return description


async def asked(service: Service, description: DescribeWorkflowExecutionResponse) -> str | None:
    return await why_stuck(FakeClient(service), description, [], now=service.now)  # type: ignore[arg-type]


def waiting_task(service: Service, seconds: float) -> DescribeWorkflowExecutionResponse:
    return running(
        pending_workflow_task={
            "state": PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED,
            "scheduled_time": service.ago(seconds),
            "attempt": 1,
        }
    )


@pytest.mark.parametrize(
    ("waits", "seen_ago", "expected"),
    [
        (0.5, {}, None),
        (5, {"workflow": 1}, None),
        (5, {"workflow": 60}, None),
        (20, {"workflow": 3}, None),
        (20, {"workflow": 40}, "no worker has asked queue 'orders' for work since 40 s"),
        (5, {"workflow": 200}, "no worker polls queue 'orders', the last one was here 3 min ago"),
        (5, {}, "no worker polls queue 'orders'."),
    ],
)
async def test_a_poller_counts_by_when_it_last_asked(
    waits: float, seen_ago: dict[str, float], expected: str | None
) -> None:
    service = Service(**seen_ago)
    found = await asked(service, waiting_task(service, waits))
    assert (found or "").startswith(expected or "")
    assert bool(found) == bool(expected)


@pytest.mark.parametrize(
    ("seen_ago", "stuck"),
    [
        ({"activity": 10}, False),
        ({"activity": 200, "workflow": 10}, False),  # all its step slots are taken
        ({"activity": 200, "workflow": 200}, True),
        ({"workflow": 10}, True),  # it takes workflows only
    ],
)
async def test_a_worker_whose_slots_are_full_is_not_gone(seen_ago: dict[str, float], stuck: bool) -> None:
    service = Service(**seen_ago)
    description = running(
        pending_activities=[
            {
                "activity_id": "1",
                "activity_type": {"name": "ship"},
                "state": 1,
                "scheduled_time": service.ago(90),
            }
        ]
    )
    assert bool(await asked(service, description)) is stuck


def test_a_task_that_times_out_again_and_again_is_told_and_one_time_out_is_not() -> None:
    assert failing_task(running(), TaskFailure(attempt=1), Opened()) is None
    description = running(pending_workflow_task={"attempt": 4})
    found = failing_task(description, TaskFailure(attempt=1), Opened())
    assert found is not None
    assert "does not answer (3 times so far)" in found


def test_what_the_server_asks_for_once_more_is_no_failure_and_a_refusal_is() -> None:
    def task(cause: WorkflowTaskFailedCause.ValueType) -> TaskFailure:
        event = HistoryEvent()
        event.workflow_task_failed_event_attributes.cause = cause
        event.workflow_task_failed_event_attributes.failure.message = "too big"
        return TaskFailure(failed=event.workflow_task_failed_event_attributes)

    again = task(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND)
    assert failing_task(running(), again, Opened()) is None
    refused = task(WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_PENDING_ACTIVITIES_LIMIT_EXCEEDED)
    found = failing_task(running(), refused, Opened())
    assert found is not None
    assert "refuses what the workflow asks for (pending activities limit exceeded): too big" in found
