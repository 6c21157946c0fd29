"""Runs on a real server, described: hand-written workflows that record what Holdfast's own ones do."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from holdfast.client.description import RunDescription
from holdfast.engine.history import describe_run
from holdfast.errors import NotFound
from holdfast.states import RunState, StepState

from . import described_flows
from .described_flows import (
    FLOWS,
    STEPS,
    Continues,
    Gated,
    Listens,
    Locals,
    Order,
    Parent,
    Retries,
    Saga,
    Sleeps,
    Waits,
)


@pytest.fixture(autouse=True)
def closed_gate() -> None:
    described_flows.gate = asyncio.Event()


class Runs:
    """Starts runs on a queue of its own, and looks until they are as expected."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.queue = f"queue-{uuid.uuid4()}"

    async def start(self, flow: Any, *args: Any, **options: Any) -> WorkflowHandle[Any, Any]:
        run_id = f"run-{uuid.uuid4()}"
        return await self.client.start_workflow(
            flow.run, args=args, id=run_id, task_queue=self.queue, **options
        )

    async def until(
        self, handle: WorkflowHandle[Any, Any], expected: Callable[[RunDescription], bool]
    ) -> RunDescription:
        for _ in range(200):
            described = await describe_run(self.client, handle.id)
            if expected(described):
                return described
            await asyncio.sleep(0.05)
        pytest.fail(f"it stays {described}")


@asynccontextmanager
async def worker(client: Client, queue: str) -> AsyncIterator[None]:
    async with Worker(
        client,
        task_queue=queue,
        workflows=FLOWS,
        activities=STEPS,
        workflow_runner=UnsandboxedWorkflowRunner(),
        identity="worker-1",
        graceful_shutdown_timeout=timedelta(seconds=0),
    ):
        yield


@pytest.fixture
async def runs(temporal: Client) -> AsyncIterator[Runs]:
    found = Runs(temporal)
    async with worker(temporal, found.queue):
        yield found
        described_flows.gate.set()


async def ended(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except Exception:  # noqa: BLE001 - how it ended is what the description says
        return


async def test_a_completed_run_shows_its_steps_input_and_result(runs: Runs) -> None:
    handle = await runs.start(Order, "order-7", "x" * 3000, memo={"customer": "c-1"})
    await handle.result()
    run = await describe_run(runs.client, handle.id)

    assert (run.state, run.workflow, run.queue, run.id) == (
        RunState.COMPLETED,
        "order",
        runs.queue,
        handle.id,
    )
    assert run.execution_id == handle.first_execution_run_id
    assert [(s.name, s.ordinal, s.activity_id, s.state) for s in run.steps] == [
        ("charge", 1, "charge-1", StepState.COMPLETED),
        ("charge", 2, "charge-2", StepState.COMPLETED),
    ]
    first, second = run.steps
    assert (first.input[0].value, first.summary) == ("order-7", "the money")
    assert first.result is not None
    assert (first.result.value, first.worker, first.attempt) == ("paid order-7", "worker-1", 1)
    assert first.scheduled is not None
    assert first.started is not None
    assert first.closed is not None
    assert first.scheduled <= first.started <= first.closed
    assert first.duration == first.closed - first.started
    assert not second.input[0].complete
    assert len(second.input[0].text) == 1025
    assert second.input[0].size_bytes == 3002
    assert [preview.value for preview in run.input] == ["order-7", "x" * 3000]
    assert run.result is not None
    assert run.result.value == "paid order-7"
    assert (run.memo, run.waiting_for, run.stuck, run.error) == ({"customer": "c-1"}, None, None, None)
    assert run.history_event_count == len((await handle.fetch_history()).events)
    assert run.history_size_bytes > 0
    assert json.loads(json.dumps(run.to_dict()))["steps"][0]["state"] == "completed"


async def test_an_unknown_run_is_not_found(runs: Runs) -> None:
    with pytest.raises(NotFound, match="no run 'nobody'"):
        await describe_run(runs.client, "nobody")
    handle = await runs.start(Sleeps, 0.0)
    with pytest.raises(NotFound, match="with execution 'nothing'"):
        await describe_run(runs.client, handle.id, execution_id="nothing")


async def test_a_saga_compensates_and_then_has_failed(runs: Runs) -> None:
    handle = await runs.start(Saga, "order-8")
    run = await runs.until(
        handle,
        lambda run: any(step.compensates and step.worker for step in run.steps) and len(run.steps) == 3,
    )
    assert run.state is RunState.COMPENSATING
    assert run.pending_compensations == ["charge-1"]
    assert run.waiting_for is not None
    assert "step charge.compensate runs since" in run.waiting_for

    described_flows.gate.set()
    await ended(handle)
    run = await describe_run(runs.client, handle.id)
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("OutOfStock", "step 'ship' failed: no stock")
    paid, shipped, refunded = run.steps
    assert (paid.state, paid.name) == (StepState.COMPENSATED, "charge")
    assert (shipped.state, str(shipped.error)) == (StepState.FAILED, "OutOfStock: no stock")
    assert (refunded.state, refunded.compensates) == (StepState.COMPLETED, "charge-1")
    assert refunded.ordinal == 1
    assert run.pending_compensations == []


async def test_what_could_still_be_compensated_is_known_from_the_names_of_such_steps(runs: Runs) -> None:
    handle = await runs.start(Saga, "order-9")
    await runs.until(handle, lambda run: len(run.steps) == 3)
    await handle.terminate(reason="enough")
    run = await describe_run(runs.client, handle.id, compensable={"charge", "ship"})
    assert run.state is RunState.TERMINATED
    assert run.error is not None
    assert str(run.error) == "TerminatedError: enough"
    # Shipping certainly did nothing; refunding was cut off.
    assert run.pending_compensations == ["charge-1"]
    assert run.steps[2].state is StepState.CANCELLED


async def test_a_retrying_step_says_why_and_when(runs: Runs) -> None:
    handle = await runs.start(Retries, 3600)
    run = await runs.until(handle, lambda run: [s.state for s in run.steps] == [StepState.RETRYING])
    [step] = run.steps
    assert (run.state, step.attempt) == (RunState.RUNNING, 2)
    assert str(step.last_failure) == "ConnectionError: cannot reach http://example.com"
    assert step.next_attempt_at is not None
    assert step.next_attempt_at > datetime.now(UTC) + timedelta(minutes=50)
    assert step.worker == "worker-1"
    assert run.waiting_for is not None
    assert run.waiting_for.startswith("step fetch retries at 20")
    assert "after ConnectionError: cannot reach" in run.waiting_for
    assert run.stuck is None


async def test_a_step_that_succeeded_at_last_keeps_its_attempts_and_last_failure(runs: Runs) -> None:
    handle = await runs.start(Retries, 0.01)
    await handle.result()
    [step] = (await describe_run(runs.client, handle.id)).steps
    assert (step.state, step.attempt) == (StepState.COMPLETED, 2)
    assert step.last_failure is not None
    assert step.last_failure.type == "ConnectionError"
    assert step.next_attempt_at is None


async def test_a_running_step_names_its_worker(runs: Runs) -> None:
    handle = await runs.start(Gated)
    run = await runs.until(handle, lambda run: [s.state for s in run.steps] == [StepState.RUNNING])
    assert (run.state, run.steps[0].worker) == (RunState.RUNNING, "worker-1")
    assert run.steps[0].duration is not None
    assert run.waiting_for is not None
    assert run.waiting_for.startswith("step wait_at_gate runs since 20")


async def test_local_steps_have_attempts_and_times_and_internal_steps_are_hidden(runs: Runs) -> None:
    handle = await runs.start(Locals)
    await handle.result()
    run = await describe_run(runs.client, handle.id)
    assert {step.activity_id: step.attempt for step in run.steps} == {
        "pause_briefly-1": 1,
        "pause_briefly-2": 1,
        "pause_briefly-3": 1,
        "fetch-1": 2,
    }
    assert all(step.local and step.state is StepState.COMPLETED for step in run.steps)
    seconds = {step.activity_id: step.duration.total_seconds() for step in run.steps if step.duration}
    assert seconds["pause_briefly-1"] == pytest.approx(0.1, abs=0.08)
    assert seconds["pause_briefly-2"] == pytest.approx(0.1, abs=0.08)
    assert seconds["pause_briefly-3"] == pytest.approx(0.3, abs=0.08)
    fetched = run.step("fetch")
    assert fetched is not None
    assert str(fetched.last_failure) == "ConnectionError: cannot reach http://example.com"
    assert fetched.result is not None
    assert fetched.result.value == "page"
    assert run.local_steps_note is not None
    assert "run again" in run.local_steps_note


async def test_an_open_approval_is_shown_with_its_form_and_deadline(runs: Runs) -> None:
    handle = await runs.start(Waits)
    run = await runs.until(handle, lambda run: run.state is RunState.WAITING)
    [wait] = run.waits
    assert (wait.name, wait.kind, wait.prompt, wait.form) == (
        "ship-it",
        "approval",
        "Ship it?",
        {"type": "boolean"},
    )
    assert wait.deadline is not None
    assert wait.since is not None
    assert wait.deadline - wait.since == timedelta(days=2)
    assert run.waiting_for == f"waits for approval 'Ship it?' until {wait.deadline:%Y-%m-%d %H:%M:%S} UTC"
    assert run.memo == {}

    await handle.signal("decide")
    await handle.result()
    run = await describe_run(runs.client, handle.id)
    assert (run.state, run.waits, run.waiting_for) == (RunState.COMPLETED, [], None)


async def test_the_last_pause_or_resume_counts(runs: Runs) -> None:
    handle = await runs.start(Waits)
    await handle.signal("holdfast.pause", {"reason": "check the price", "by": "operations"})
    run = await runs.until(handle, lambda run: run.state is not RunState.PENDING)
    assert run.state is RunState.PAUSED
    assert (run.paused_by, run.pause_reason) == ("operations", "check the price")
    assert run.waiting_for == "paused by operations: check the price"
    await handle.signal("holdfast.resume", {"reason": "", "by": "operations"})
    run = await runs.until(handle, lambda run: run.state is RunState.WAITING)
    assert run.paused_by is None


async def test_a_timer_says_until_when(runs: Runs) -> None:
    handle = await runs.start(Sleeps, 3600.0)
    run = await runs.until(handle, lambda run: run.state is RunState.WAITING)
    assert run.waiting_for is not None
    assert run.waiting_for.startswith("sleeps until 20")


async def test_a_run_that_only_listens_says_so(runs: Runs) -> None:
    handle = await runs.start(Listens)
    run = await runs.until(handle, lambda run: run.state is RunState.WAITING)
    assert run.waiting_for == "waits for a signal or an update"


async def test_a_delayed_start_says_when(runs: Runs) -> None:
    handle = await runs.start(Sleeps, 0.0, start_delay=timedelta(hours=1))
    run = await describe_run(runs.client, handle.id)
    assert run.state is RunState.PENDING
    assert run.waiting_for is not None
    assert run.waiting_for.startswith("starts at 20")


async def test_cancelled_terminated_and_timed_out_are_told_apart(runs: Runs) -> None:
    async def end_by(
        stop: Callable[[WorkflowHandle[Any, Any]], Awaitable[object]], **options: Any
    ) -> RunDescription:
        handle = await runs.start(Sleeps, 3600.0, **options)
        await runs.until(handle, lambda run: run.state is RunState.WAITING)
        await stop(handle)
        await ended(handle)
        return await describe_run(runs.client, handle.id)

    async def wait(_: object) -> None:
        pass

    cancelled = await end_by(lambda handle: handle.cancel())
    assert (cancelled.state, cancelled.cancel_requested, cancelled.error) == (RunState.CANCELLED, True, None)
    assert cancelled.closed is not None
    terminated = await end_by(lambda handle: handle.terminate(reason="not needed"))
    assert terminated.state is RunState.TERMINATED
    timed_out = await end_by(wait, run_timeout=timedelta(seconds=2))
    assert timed_out.state is RunState.TIMED_OUT
    assert timed_out.error is not None
    assert timed_out.error.type == "TimeoutError"


async def test_a_child_run_is_waited_for_and_knows_its_parent(runs: Runs) -> None:
    child_id = f"child-{uuid.uuid4()}"
    handle = await runs.start(Parent, child_id)
    run = await runs.until(handle, lambda run: run.waiting_for == f"waits for child run {child_id!r}")
    assert (run.children, run.state) == ([child_id], RunState.RUNNING)
    child = runs.client.get_workflow_handle(child_id)
    described = await runs.until(child, lambda run: run.state is RunState.WAITING)
    assert described.parent == handle.id
    await handle.cancel()
    await ended(handle)


async def test_a_continued_run_is_described_by_its_latest_execution(runs: Runs) -> None:
    handle = await runs.start(Continues, 2)
    await handle.result()
    run = await describe_run(runs.client, handle.id)
    assert run.execution_id != handle.first_execution_run_id
    assert (run.state, run.input[0].value) == (RunState.COMPLETED, 0)
    first = await describe_run(runs.client, handle.id, execution_id=handle.first_execution_run_id)
    assert (first.execution_id, first.input[0].value) == (handle.first_execution_run_id, 2)
