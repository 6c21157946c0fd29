"""Limits over all workers, as runs and steps meet them."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from holdfast import Client, InvalidConfiguration, Limit, RunFailed, StepState, Worker, step
from holdfast.engine import semaphore

from . import limit_flows as flows


@pytest.fixture(autouse=True)
def _nobody_at_work() -> None:
    flows.at_work.clear()
    flows.most.clear()


async def test_no_more_than_the_limit_run_for_each_key(holdfast_client: Client) -> None:
    jobs = [flows.Job(tenant, 0.3) for tenant in ("a", "b") * 4]
    async with Worker(holdfast_client, [flows]):
        assert await holdfast_client.run(flows.all_of, jobs) == ["a", "b"] * 4
    assert flows.most == {"a": 2, "b": 2}


async def test_it_holds_for_nodes_too(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [flows]):
        await holdfast_client.run(flows.limited_nodes, None)
    assert flows.most == {"dag": 2}


async def test_each_step_goes_by_its_own_numbers(holdfast_client: Client) -> None:
    jobs = [flows.Job("mixed", 0.4)] * 5
    async with Worker(holdfast_client, [flows]):
        await holdfast_client.run(flows.fives_then_alone, jobs)
    assert flows.most == {"mixed": 5}


async def test_a_key_is_served_when_the_queue_of_its_first_caller_has_no_worker_any_more(
    holdfast_client: Client,
) -> None:
    async with Worker(holdfast_client, [flows.all_of, flows.limited]):
        await holdfast_client.run(flows.all_of, [flows.Job("moved", 0)])
    async with Worker(holdfast_client, [flows], queues=["elsewhere"]):
        await holdfast_client.run(
            flows.fives_then_alone, [flows.Job("moved", 0)], timeout=timedelta(seconds=60)
        )
    assert flows.most["moved"] == 1


async def test_two_workers_of_one_client_serve_limits_side_by_side(holdfast_client: Client) -> None:
    jobs = [flows.Job("shared", 0.05)] * 4
    async with Worker(holdfast_client, [flows], queues=["elsewhere"]):
        async with Worker(holdfast_client, [flows], queues=["default"]):
            await holdfast_client.run(flows.all_of, jobs)
            await holdfast_client.run(flows.fives_then_alone, jobs)
        await holdfast_client.run(flows.fives_then_alone, jobs)
    assert flows.most["shared"] <= 5


async def test_a_step_that_fails_gives_its_place_back(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [flows]):
        assert await holdfast_client.run(flows.refused_thrice, flows.Job("refused", 0)) == 3


async def test_a_step_that_is_cancelled_while_it_waits_leaves_the_line(holdfast_client: Client) -> None:
    jobs = [flows.Job("cancelled", 0.3)] * 5
    async with Worker(holdfast_client, [flows]):
        assert await holdfast_client.run(flows.cancelled_while_it_waits, jobs) == 2
    assert flows.most["cancelled"] <= 2


async def test_who_waits_long_leaves_the_worker_and_no_attempt_is_counted(
    holdfast_client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("holdfast.engine.keyed_limits._IN_PLACE_SECONDS", 0.0)
    jobs = [flows.Job("patient", 0.2)] * 6
    with caplog.at_level(logging.WARNING):
        async with Worker(holdfast_client, [flows]):
            run = await holdfast_client.start(flows.all_of, jobs)
            assert await run.result() == ["patient"] * 6
            steps = (await run.describe()).steps
            history = await holdfast_client.temporal.get_workflow_handle(run.id).fetch_history()
    left = [event for event in history.events if event.HasField("activity_task_failed_event_attributes")]
    assert left, "none has left"
    assert [(step.state, step.attempt) for step in steps] == [(StepState.COMPLETED, 1)] * 6
    assert flows.most == {"patient": 2}
    assert "failed" not in caplog.text


async def test_a_long_line_goes_on_in_a_new_execution_and_replays(
    holdfast_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semaphore, "_TURNS", 4)
    jobs = [flows.Job("long", 0.05)] * 20
    async with Worker(holdfast_client, [flows]):
        await holdfast_client.run(flows.all_of, jobs)
    assert flows.most == {"long": 2}
    handle = holdfast_client.temporal.get_workflow_handle("holdfast-limit/long")
    last = await handle.fetch_history()
    before = last.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    assert before
    # The last one may not have begun, and Temporal's replayer waits for ever for an execution without a task.
    handle = holdfast_client.temporal.get_workflow_handle("holdfast-limit/long", run_id=before)
    last = await handle.fetch_history()
    replayer = Replayer(
        workflows=[semaphore.Semaphore],
        data_converter=holdfast_client.temporal.data_converter,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await replayer.replay_workflow(last)


@pytest.mark.parametrize("key", ["x" * 201, "\u00e9" * 101, "a\nb", "a\0b"])
async def test_a_key_that_is_no_part_of_an_id_fails_for_good(holdfast_client: Client, key: str) -> None:
    async with Worker(holdfast_client, [flows]):
        with pytest.raises(RunFailed, match="use at most 200 bytes without control characters"):
            await holdfast_client.run(flows.all_of, [flows.Job(key, 0)])


async def test_a_key_that_names_no_argument_fails_for_good(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [flows]):
        with pytest.raises(RunFailed, match=r"the limit's key '\{nobody\}' cannot be filled in"):
            await holdfast_client.run(flows.misnamed, flows.Job("x", 0))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"key": ""}, "a limit has a key"),
        ({"key": "a"}, "limits nothing"),
        ({"key": "a", "concurrency": 0}, "use 1 to 1000"),
        ({"key": "a", "concurrency": 1001}, "use 1 to 1000"),
        ({"key": "a", "rate": "10"}, "write '10/s'"),
        ({"key": "a", "rate": "0/s"}, "write '10/s'"),
        ({"key": "a", "rate": "1001/h"}, "write '10/s'"),
        ({"key": "a", "rate": "1.5/s"}, "write '10/s'"),
        ({"key": "a", "rate": "10/day"}, "write '10/s'"),
    ],
)
def test_a_limit_that_cannot_work_is_refused(options: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidConfiguration, match=why):
        Limit(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["local", "deferred"])
def test_a_step_that_cannot_wait_has_none(option: str) -> None:
    async def act() -> None:
        """Does nothing."""

    with pytest.raises(InvalidConfiguration, match="drop local and deferred"):
        step(limit=Limit(key="a", concurrency=1), **{option: True})(act)  # type: ignore[call-overload]
