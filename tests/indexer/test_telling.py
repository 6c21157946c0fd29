"""What is told of recorded histories: the same of a part as of the whole, and once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import RetryState
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from holdfast.engine.history import Opened, build_description
from holdfast.engine.history.facts import StepFacts, Timeline
from holdfast.indexer.telling import TOLD_RETRIES, events_of
from holdfast.indexer.usage import usage_of
from holdfast.states import StepState
from holdfast.store.rows import Event, Usage

FOLDER = Path(__file__).parents[1] / "histories"
NAMES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.json"))


def recorded(name: str) -> list[HistoryEvent]:
    return list(WorkflowHistory.from_json(name, (FOLDER / name).read_text("utf-8")).events)


def told(history: Sequence[HistoryEvent]) -> list[Event]:
    return events_of(build_description(history), history, Opened())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_told_of_a_beginning_is_told_alike_of_the_whole(name: str) -> None:
    history = recorded(name)
    events = told(history)
    whole = {event.identity: event for event in events}
    assert len(whole) == len(events), "each has an identity of its own"
    json.dumps([event.payload for event in events])
    for cut in range(1, len(history), max(len(history) // 12, 1)):
        for event in told(history[:cut]):
            assert whole[event.identity] == event


def test_an_approval_is_requested_and_decided() -> None:
    events = told(recorded("holdfast/approval.json"))
    asked = [event for event in events if event.kind.startswith("approval.")]
    assert [event.kind for event in asked] == ["approval.requested", "approval.decided"]
    assert asked[0].payload["prompt"] == "Ship it?"
    assert {event.payload["name"] for event in asked} == {"ship"}
    assert "expired" not in asked[1].payload
    assert asked[0].at < asked[1].at


def test_an_approval_that_nobody_decides_in_time_says_so() -> None:
    history = recorded("holdfast/approval.json")
    (asked, *_) = [event for event in history if b"Ship it?" in event.SerializeToString()]
    fields = asked.workflow_properties_modified_event_attributes.upserted_memo.fields["holdfast.waits"]
    (wait,) = json.loads(fields.data)
    wait["deadline"] = wait["since"]
    fields.data = json.dumps([wait]).encode()
    (decided,) = [event for event in told(history) if event.kind == "approval.decided"]
    assert decided.payload["expired"] is True


def test_a_run_that_goes_on_elsewhere_has_not_ended() -> None:
    kinds = [event.kind for event in told(recorded("dag/continued-1.json"))]
    assert "workflow.started" in kinds
    assert "workflow.completed" not in kinds
    later = [event.kind for event in told(recorded("dag/continued-2.json"))]
    assert "workflow.started" not in later


def test_a_failure_after_which_the_run_is_tried_again_is_no_end() -> None:
    history = recorded("described/saga.json")
    assert "workflow.failed" in [event.kind for event in told(history)]
    ended = history[-1].workflow_execution_failed_event_attributes
    ended.retry_state = RetryState.RETRY_STATE_IN_PROGRESS
    assert "workflow.failed" not in [event.kind for event in told(history)]


def test_only_the_first_retries_are_told() -> None:
    history = recorded("described/retries.json")
    for event in history:
        if event.HasField("activity_task_started_event_attributes"):
            event.activity_task_started_event_attributes.attempt = 500
    retries = [event for event in told(history) if event.kind == "step.retrying"]
    assert {event.payload["attempt"] for event in retries} == set(range(1, TOLD_RETRIES + 1))


def test_a_step_that_is_tried_again_is_told_with_the_times_of_its_attempts() -> None:
    description = build_description(recorded("described/retries.json"))
    step = next(step for step in description.steps if step.attempt > 1 and not step.local)
    assert step.scheduled is not None
    fifty_minutes = step.scheduled + timedelta(minutes=50)
    waiting = replace(step, state=StepState.RETRYING, attempt=2, started=fifty_minutes, closed=None)
    running = replace(waiting, state=StepState.RUNNING, attempt=1)
    later = replace(waiting, state=StepState.RUNNING, attempt=9)
    for seen, started, retrying in (
        (running, fifty_minutes, set[datetime]()),
        (waiting, fifty_minutes, {fifty_minutes}),
        (later, step.scheduled, {fifty_minutes}),
    ):
        run = replace(description, steps=[seen])
        events = events_of(run, recorded("described/retries.json"), Opened())
        assert [event.at for event in events if event.kind == "step.started"] == [started]
        assert {event.at for event in events if event.kind == "step.retrying"} == retrying


def test_what_steps_used_up_is_read_from_results_and_failures() -> None:
    paid = Payload(metadata={"encoding": b"json/plain"}, data=b'"text"')
    paid.metadata["holdfast-usage"] = b'{"tokens":120,"cost_usd":0.0015,"calls":1}'
    details = Payload(
        metadata={"encoding": b"json/plain"}, data=b'{"attempt":1,"usage":{"tokens":7,"cost_usd":0.25}}'
    )
    failure = Failure(message="no")
    failure.application_failure_info.details.payloads.append(details)
    odd = Payload(metadata={"encoding": b"json/plain", "holdfast-usage": b'{"tokens":"many"'}, data=b"1")
    steps = [
        StepFacts(name="ask", activity_id="ask-1", result=paid),
        StepFacts(name="ask", activity_id="ask-2", failure=failure),
        StepFacts(name="ask", activity_id="ask-3", result=odd),
        StepFacts(name="plain", activity_id="plain-1"),
    ]
    assert usage_of(Timeline(steps=steps), Opened()) == {
        "ask-1": Usage(tokens=120, cost_micros=1500),
        "ask-2": Usage(tokens=7, cost_micros=250_000),
    }
