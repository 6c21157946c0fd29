"""Runs that know nothing of Holdfast: of plain Temporal with all that it offers, and of other SDKs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, Payloads, WorkflowType
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.history.v1 import (
    HistoryEvent,
    MarkerRecordedEventAttributes,
    WorkflowExecutionCompletedEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.engine.support import eventually
from tests.indexer.flows import indexed, rows
from tests.indexer.foreign import read

from holdfast.indexer import Indexer
from holdfast.states import StepState
from holdfast.store.database import Database
from holdfast.store.rows import IndexedRun
from holdfast.store.runs import get_steps
from holdfast.store.schema import run_details, runs, unreadable
from holdfast.store.writer import write_runs

_SHORT = timedelta(seconds=20)


@activity.defn
async def shout(text: str) -> str:
    return text.upper()


@activity.defn
async def flaky(text: str) -> str:
    if activity.info().attempt < 3:
        raise ApplicationError(f"not yet {text}", type="NotYet")
    return text


@activity.defn
async def forever() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@workflow.defn
class Part:
    @workflow.run
    async def run(self, text: str) -> str:
        if text == "bad":
            raise ApplicationError("a bad part", type="BadPart", non_retryable=True)
        return await workflow.execute_activity(shout, text, start_to_close_timeout=_SHORT)


@workflow.defn
class Everything:
    """Each thing once."""

    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self, left: int) -> list[str]:
        workflow.upsert_memo({"left": left})
        await workflow.wait_condition(lambda: len(self.words) >= 2)
        await workflow.sleep(0.01)
        local = await workflow.execute_local_activity(shout, "local", start_to_close_timeout=_SHORT)
        quick = RetryPolicy(initial_interval=timedelta(milliseconds=10))
        tried = await workflow.execute_activity(
            flaky, "flaky", start_to_close_timeout=_SHORT, retry_policy=quick
        )
        parts = await asyncio.gather(
            *(workflow.execute_child_workflow(Part.run, text) for text in ("one", "bad")),
            return_exceptions=True,
        )
        if workflow.patched("once"):
            self.words.append(str(workflow.uuid4()))
        if left:
            workflow.continue_as_new(left - 1)
        return [*self.words[:2], local, tried, str(parts[0]), type(parts[1]).__name__]

    @workflow.signal
    def say(self, word: str) -> None:
        self.words.append(word)

    @workflow.query
    def said(self) -> list[str]:
        return self.words

    @workflow.update
    async def ask(self, word: str) -> int:
        await workflow.sleep(0.01)
        self.words.append(word)
        return len(self.words)

    @ask.validator
    def check(self, word: str) -> None:
        if not word:
            raise ValueError("say something")


@workflow.defn
class Patient:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            forever,
            start_to_close_timeout=_SHORT,
            heartbeat_timeout=timedelta(seconds=2),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


@pytest.fixture
async def plain(temporal: Client) -> Any:
    """A queue that a worker of plain Temporal serves."""
    queue = f"plain-{uuid.uuid4().hex[:8]}"
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[Everything, Part, Patient],
        activities=[shout, flaky, forever],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield queue


async def test_all_that_plain_temporal_offers_is_read(
    temporal: Client, plain: str, database: Database
) -> None:
    handle = await temporal.start_workflow(
        Everything.run, 1, id=f"all-{uuid.uuid4().hex[:8]}", task_queue=plain, memo={"who": "shop 😀"}
    )
    for _ in range(2):  # once for each execution
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("ask", "")  # pyright: ignore[reportUnknownMemberType]
        await handle.signal(Everything.say, "hello")
        await handle.execute_update("ask", "there")  # pyright: ignore[reportUnknownMemberType]
        before = handle.first_execution_run_id

        async def gone_on(before: str | None = before) -> bool:
            described = await handle.describe()
            return described.run_id != before or described.close_time is not None

        await eventually(gone_on, 30)
    result = await handle.result()
    assert result[2:] == ["LOCAL", "flaky", "ONE", "ChildWorkflowError"]
    row = await indexed(Indexer(temporal, database), database, handle.id, "completed")
    assert row["workflow"] == "Everything"
    assert row["retry_count"] == 4, "two of each execution"
    steps = get_steps(database, handle.id)
    assert [(step.name, step.local) for step in steps] == [("shout", True), ("flaky", False)] * 2
    (details,) = rows(database, run_details, run_key=row["key"])
    assert details["memo"]["who"] == "shop 😀"
    children = rows(database, runs, parent=handle.id)
    assert sorted(child["state"] for child in children) == ["completed", "completed", "failed", "failed"]
    assert {child["error_type"] for child in children} == {None, "BadPart"}
    assert rows(database, unreadable) == []


async def test_cancelled_and_terminated_runs_are_read(
    temporal: Client, plain: str, database: Database
) -> None:
    handles = [
        await temporal.start_workflow(Patient.run, id=f"p-{uuid.uuid4().hex[:8]}", task_queue=plain)
        for _ in range(2)
    ]
    cancelled, terminated = handles

    async def begun() -> bool:
        found = [await handle.describe() for handle in handles]
        return all(each.raw_description.pending_activities for each in found)

    await eventually(begun)
    await cancelled.cancel()
    await terminated.terminate("enough")
    for handle in handles:
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    indexer = Indexer(temporal, database)
    await indexed(indexer, database, cancelled.id, "cancelled")
    await indexed(indexer, database, terminated.id, "terminated")
    (step,) = get_steps(database, cancelled.id)
    assert (step.name, step.state) == ("forever", StepState.CANCELLED)


async def test_runs_of_schedules_are_read(temporal: Client, plain: str, database: Database) -> None:
    name = f"sched-{uuid.uuid4().hex[:8]}"
    action = ScheduleActionStartWorkflow(Part.run, "tick", id=name, task_queue=plain)
    handle = await temporal.create_schedule(name, Schedule(action=action, spec=ScheduleSpec()))
    try:
        await handle.trigger()

        async def started() -> str | None:
            recent = (await handle.describe()).info.recent_actions
            return recent[0].action.workflow_id if recent else None  # type: ignore[union-attr] # pyright: ignore

        run_id: str = await eventually(started, 30)
    finally:
        await handle.delete()
    row = await indexed(Indexer(temporal, database), database, run_id, "completed")
    assert row["step_count"] == 1


# Other SDKs


def marker(
    name: str, details: Mapping[str, str], failure: Failure | None = None
) -> MarkerRecordedEventAttributes:
    made = MarkerRecordedEventAttributes(marker_name=name)
    for key, value in details.items():
        payload = Payload(metadata={"encoding": b"json/plain"}, data=value.encode())
        made.details[key].CopyFrom(Payloads(payloads=[payload]))
    if failure is not None:
        made.failure.CopyFrom(failure)
    return made


def history(*markers: MarkerRecordedEventAttributes, unknown: int | None = None) -> list[HistoryEvent]:
    started = WorkflowExecutionStartedEventAttributes(
        workflow_type=WorkflowType(name="Theirs"), original_execution_run_id=str(uuid.uuid4())
    )
    events = [
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
            workflow_execution_started_event_attributes=started,
        )
    ]
    if unknown is not None:
        events.append(HistoryEvent(event_type=unknown))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    events += [
        HistoryEvent(event_type=EventType.EVENT_TYPE_MARKER_RECORDED, marker_recorded_event_attributes=each)
        for each in markers
    ]
    events.append(
        HistoryEvent(
            event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
            workflow_execution_completed_event_attributes=WorkflowExecutionCompletedEventAttributes(),
        )
    )
    for number, event in enumerate(events, 1):
        event.event_id = number
        at = Timestamp()
        at.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number))
        event.event_time.CopyFrom(at)
    return events


async def told(temporal: Client, database: Database, events: list[HistoryEvent]) -> IndexedRun:
    run = await read(temporal, f"theirs-{uuid.uuid4().hex[:8]}", events)
    write_runs(database, [run])
    return run


async def test_local_activities_of_go_are_steps(temporal: Client, database: Database) -> None:
    data = '{"ActivityID":"%s","ActivityType":"Greet","ReplayTime":"2026-01-01T00:00:02Z","Attempt":%d,"Backoff":%d}'
    failure = Failure(message="no", application_failure_info=ApplicationFailureInfo(type="Refused"))
    run = await told(
        temporal,
        database,
        history(
            marker("LocalActivity", {"data": data % ("1", 2, 0), "result": '"hi"'}),
            marker("LocalActivity", {"data": data % ("2", 1, 60_000_000_000)}, failure),
            marker("LocalActivity", {"data": data % ("2", 2, 0), "result": '"hi"'}),
            marker("LocalActivity", {"data": data % ("3", 1, 0)}, failure),
            marker("Version", {"change-id": '"x"', "version": "1"}),
        ),
    )
    assert [(step.name, step.state, step.attempt, step.local) for step in run.run.steps] == [
        ("Greet", StepState.COMPLETED, 2, True),
        ("Greet", StepState.COMPLETED, 2, True),
        ("Greet", StepState.FAILED, 1, True),
    ]


async def test_local_activities_of_java_are_steps(temporal: Client, database: Database) -> None:
    meta = '{"firstSkd":1767225602500,"atpt":3,"backoff":null}'
    ids = {"type": '"Charge"', "time": "1767225602600"}
    run = await told(
        temporal,
        database,
        history(
            marker("LocalActivity", {"activityId": '"a"', "meta": meta, "result": "1", **ids}),
            marker("LocalActivity", {"activityId": '"b"', **ids}, Failure(message="no")),
        ),
    )
    first, second = run.run.steps
    assert (first.name, first.state, first.attempt) == ("Charge", StepState.COMPLETED, 3)
    assert first.scheduled == datetime.fromtimestamp(1767225602.5, UTC)
    assert (second.name, second.state) == ("Charge", StepState.FAILED)


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"data": "not json"},
        {"data": "[]"},
        {"data": '{"ActivityID": {}, "ActivityType": 5, "Attempt": "x", "Backoff": 1e99}'},
        {"data": '{"Backoff": 99999999999999999999999999}'},
        {"type": "5", "activityId": '"a"'},
        {"type": '"T"', "activityId": '"a"', "meta": '{"firstSkd": 1e300, "atpt": [], "backoff": -1}'},
        {"type": '"T"', "activityId": '"a"', "meta": '{"firstSkd": true, "backoff": 1e13}'},
    ],
)
async def test_markers_of_any_form_stop_nothing(
    temporal: Client, database: Database, details: dict[str, str]
) -> None:
    for name in ("LocalActivity", "core_local_activity", "\x00", "SideEffect"):
        run = await told(temporal, database, history(marker(name, details)))
        assert run.run.state.value == "completed"


async def test_events_that_are_not_known_yet_stop_nothing(temporal: Client, database: Database) -> None:
    run = await told(temporal, database, history(unknown=9999))
    assert run.run.state.value == "completed"
