"""The pure part, on recorded histories: whole, cut anywhere, and with holes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, PendingActivityState, TimeoutType, WorkflowExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import (
    PendingActivityInfo,
    WorkflowExecutionExtendedInfo,
    WorkflowExecutionInfo,
    WorkflowExecutionPauseInfo,
)
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter, PayloadCodec

from holdfast.engine.history import Opened, build_description, open_payloads
from holdfast.states import RunState, StepState

FOLDER = Path(__file__).parents[1] / "histories" / "described"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def recorded(name: str) -> list[HistoryEvent]:
    return list(WorkflowHistory.from_json(name, (FOLDER / f"{name}.json").read_text("utf-8")).events)


EVENTS = {name: recorded(name) for name in NAMES}


def upto(name: str, kind: EventType.ValueType, times: int = 1) -> list[HistoryEvent]:
    """A recorded history up to the n-th event of a kind."""
    found = [index for index, event in enumerate(EVENTS[name]) if event.event_type == kind]
    return EVENTS[name][: found[times - 1] + 1]


def test_there_are_recordings() -> None:
    assert NAMES == ["locals", "parent", "retries", "saga", "waits"]


@given(name=st.sampled_from(NAMES), data=st.data(), stuck=st.none() | st.just("no worker"))
def test_any_beginning_of_a_history_can_be_described(
    name: str, data: st.DataObject, stuck: str | None
) -> None:
    events = EVENTS[name]
    cut = data.draw(st.integers(0, len(events)))
    run = build_description(events[:cut], stuck=stuck)
    json.dumps(run.to_dict())
    assert run.state.closed == (cut == len(events))
    assert (run.waiting_for is None) == run.state.closed
    assert run.history_event_count == cut
    assert all(step.state.closed for step in run.steps) or not run.state.closed


@given(name=st.sampled_from(NAMES), data=st.data())
def test_a_history_with_holes_can_be_described(name: str, data: st.DataObject) -> None:
    kept = [event for event in EVENTS[name] if data.draw(st.booleans())]
    run = build_description(kept)
    json.dumps(run.to_dict())
    assert run.history_event_count == max((event.event_id for event in kept), default=0)
    assert run.state.closed == (EVENTS[name][-1] in kept)
    whole = {step.activity_id for step in build_description(EVENTS[name]).steps}
    assert {step.activity_id for step in run.steps} <= whole, "what is missing makes no new steps"


def test_events_of_unknown_kinds_are_passed_over() -> None:
    unknown = HistoryEvent(event_id=2)
    unknown.event_type = 9999  # type: ignore[assignment]
    run = build_description([EVENTS["saga"][0], unknown])
    assert (run.id, run.workflow, run.state) == ("saga-1", "saga", RunState.PENDING)


def test_a_recorded_saga_reads_as_it_ran() -> None:
    run = build_description(EVENTS["saga"])
    assert [(step.name, step.state) for step in run.steps] == [
        ("charge", StepState.COMPENSATED),
        ("ship", StepState.FAILED),
        ("charge.compensate", StepState.COMPLETED),
    ]
    assert (run.state, str(run.error)) == (RunState.FAILED, "OutOfStock: step 'ship' failed: no stock")
    assert run.duration is not None


def test_a_description_prints_as_lines_to_read() -> None:
    run = build_description(EVENTS["saga"])
    lines = str(run).splitlines()
    assert [line[:10].strip() for line in lines[:6]] == ["run", "workflow", "state", "error", "took", "steps"]
    assert lines[3] == "error     OutOfStock: step 'ship' failed: no stock"
    assert [line.split(",")[0] for line in lines[6:]] == [
        "  charge: compensated",
        "  ship: failed",
        "  charge.compensate: completed",
    ]
    assert lines[7].endswith(" s: OutOfStock: no stock")
    assert "attempt 1" in lines[7]


def test_an_open_run_prints_why_it_waits_or_is_stuck_on_one_line() -> None:
    run = build_description(EVENTS["waits"])
    waiting = replace(run, state=RunState.WAITING, waiting_for="a\nreply\x1b[31m", error=None)
    assert "waits for a\\nreply\\x1b[31m" in str(waiting).splitlines()
    stuck = replace(waiting, state=RunState.STUCK, stuck="no worker", duration=timedelta(hours=3))
    assert "waits for" not in str(stuck)
    assert {"stuck     no worker", "for       3:00:00"} <= set(str(stuck).splitlines())


def test_a_saga_is_compensating_from_its_memo_to_its_end() -> None:
    run = build_description(upto("saga", EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED))
    assert run.state is RunState.COMPENSATING


def test_a_paused_run_is_paused_until_resumed() -> None:
    signaled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    assert build_description(upto("waits", signaled, 1)).state is RunState.PAUSED
    assert build_description(upto("waits", signaled, 2)).state is not RunState.PAUSED


def test_a_run_that_the_server_itself_paused_is_paused() -> None:
    info = WorkflowExecutionInfo(status=WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED)
    extended = WorkflowExecutionExtendedInfo(
        pause_info=WorkflowExecutionPauseInfo(identity="operations", reason="maintenance")
    )
    description = DescribeWorkflowExecutionResponse(
        workflow_execution_info=info, workflow_extended_info=extended
    )
    run = build_description(upto("saga", EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED), description)
    assert (run.state, run.waiting_for) == (RunState.PAUSED, "paused by operations: maintenance")


def test_a_history_with_a_stuck_reason_is_stuck_and_says_so() -> None:
    run = build_description(EVENTS["saga"][:4], stuck="no worker polls queue 'orders'")
    assert (run.state, run.waiting_for) == (RunState.STUCK, "no worker polls queue 'orders'")


def test_an_open_step_shows_what_the_server_knows_of_it() -> None:
    again = datetime(2030, 1, 1, tzinfo=UTC)
    pending = PendingActivityInfo(
        activity_id="fetch-1",
        state=PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED,
        attempt=4,
        last_worker_identity="worker-2",
        last_failure=Failure(message="reset", application_failure_info={"type": "ConnectionError"}),  # type: ignore[arg-type]
    )
    pending.next_attempt_schedule_time.FromDatetime(again)
    run = build_description(
        upto("retries", EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED),
        DescribeWorkflowExecutionResponse(pending_activities=[pending]),
    )
    [step] = run.steps
    assert (step.state, step.attempt, step.next_attempt_at) == (StepState.RETRYING, 4, again)
    assert run.waiting_for == "step fetch retries at 2030-01-01 00:00:00 UTC after ConnectionError: reset"


def test_a_local_step_between_two_attempts_is_retrying() -> None:
    run = build_description(upto("locals", EventType.EVENT_TYPE_TIMER_STARTED))
    step = run.step("fetch")
    assert step is not None
    assert (step.state, step.local) == (StepState.RETRYING, True)
    assert step.next_attempt_at is not None
    assert step.scheduled is not None
    assert step.next_attempt_at - step.scheduled == pytest.approx(
        timedelta(seconds=0.3), abs=timedelta(seconds=0.2)
    )
    assert run.waiting_for is not None
    assert run.waiting_for.startswith("step fetch retries at")


def test_a_child_is_open_until_it_ends() -> None:
    run = build_description(upto("parent", EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED))
    assert run.children == ["child-1"]
    run = build_description(EVENTS["parent"])
    assert (run.state, run.children, run.cancel_requested) == (RunState.CANCELLED, ["child-1"], True)


# Payloads and failures


def json_payload(data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def test_a_short_value_is_whole_and_a_long_one_is_cut() -> None:
    opened = Opened()
    short = opened.preview(json_payload('{"name":"é"}'.encode()))
    assert (short.value, short.complete, short.text) == ({"name": "é"}, True, '{"name":"é"}')
    long = opened.preview(json_payload(('"' + "é" * 1000 + '"').encode()))
    assert (long.value, long.complete, long.size_bytes) == (None, False, 2002)
    assert long.text == '"' + "é" * 511 + "…"


@pytest.mark.parametrize("data", [b"NaN", b"{", b"[" * 900, b"\xff", b""])
def test_what_is_no_json_is_shown_as_text(data: bytes) -> None:
    preview = Opened().preview(json_payload(data))
    assert (preview.value, preview.complete) == (None, False)
    json.dumps(preview.to_dict())


def test_bytes_null_and_values_in_storage_show_their_size() -> None:
    opened = Opened()
    assert opened.preview(Payload(metadata={"encoding": b"binary/null"})).complete
    assert (
        str(opened.preview(Payload(metadata={"encoding": b"binary/plain"}, data=b"123")))
        == "<3 bytes, bytes>"
    )
    stored = Payload(metadata={"encoding": b"json/external-storage-reference"}, data=b"{}")
    stored.external_payloads.add(size_bytes=5_200_000)
    preview = opened.preview(stored)
    assert (str(preview), preview.size_bytes) == ("<5.2 MB, kept in storage>", 5_200_000)
    ref = json_payload(b'{"$holdfast_ref":"ab","size_bytes":6000000,"step":"load"}')
    assert opened.preview(ref).complete, "without its metadata it is an ordinary object"
    ref.metadata["holdfast-refs"] = b"ab"
    assert str(opened.preview(ref)) == "<6.0 MB, kept in storage>"


class Reversing(PayloadCodec):
    """Turns data around, and refuses what begins with an exclamation mark."""

    async def encode(self, payloads: object) -> list[Payload]:
        raise NotImplementedError

    async def decode(self, payloads: object) -> list[Payload]:
        assert isinstance(payloads, list)
        if any(payload.data.startswith(b"!") for payload in payloads):
            raise ValueError("wrong key")
        return [json_payload(payload.data[::-1]) for payload in payloads]


async def test_encoded_values_are_opened_and_one_that_cannot_be_says_why() -> None:
    good, bad = (Payload(metadata={"encoding": b"binary/reversed"}, data=data) for data in (b'"olleh"', b"!"))
    huge = Payload(metadata={"encoding": b"binary/reversed"}, data=b"x" * 300_000)
    opened = await open_payloads(DataConverter(payload_codec=Reversing()), [good, bad, huge])
    assert opened.preview(good).value == "hello"
    assert str(opened.preview(bad)) == "<cannot be read here: wrong key>"
    assert str(opened.preview(huge)) == "<300.0 kB, encoded>"
    assert str(Opened().preview(bad)) == "<1 bytes, binary/reversed>"


async def test_encoded_failure_messages_are_opened() -> None:
    hidden = Payload(metadata={"encoding": b"binary/reversed"}, data=b'{"message":"secret"}'[::-1])
    failure = Failure(message="Encoded failure", encoded_attributes=hidden)
    failure.application_failure_info.type = "ValueError"
    opened = await open_payloads(DataConverter(payload_codec=Reversing()), [hidden])
    assert str(opened.error(failure)) == "ValueError: secret"
    assert str(Opened().error(failure)) == "ValueError: Encoded failure"


def test_a_timeout_says_which_and_what_came_before() -> None:
    failure = Failure(message="activity StartToClose timeout")
    failure.timeout_failure_info.timeout_type = TimeoutType.TIMEOUT_TYPE_HEARTBEAT
    assert str(Opened().error(failure)) == "TimeoutError: its worker stopped without a word"
    failure.cause.message, failure.cause.application_failure_info.type = "reset", "ConnectionError"
    assert Opened().error(failure).message.endswith("before that: ConnectionError: reset")
