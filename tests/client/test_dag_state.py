"""What the server knows of open steps completes the state of a DAG's run."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo

from holdfast.client.dag_state import add_attempts

WAITS = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
RUNS = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


def shown(activity_id: str, attempt: int, state: Any = WAITS, total: int | None = None) -> dict[str, Any]:
    node = {"state": "running", "attempts": 1, "waits_for": None, "total": total}
    step = PendingActivityInfo(activity_id=activity_id, attempt=attempt, state=state)
    add_attempts({"dag": "d", "nodes": {"answer": node}}, [step])
    return node


def test_a_node_between_attempts_is_retrying() -> None:
    assert shown("answer-2", 3) == {
        "state": "retrying",
        "attempts": 3,
        "waits_for": "attempt 3",
        "total": None,
    }


def test_a_node_in_a_further_attempt_runs() -> None:
    node = shown("answer", 2, RUNS)
    assert (node["state"], node["attempts"], node["waits_for"]) == ("running", 2, None)


@pytest.mark.parametrize("activity_id", ["answer[weather]", "answer[3][weather]", "answer[weather]-2"])
def test_a_tool_between_attempts_is_named_and_its_node_runs(activity_id: str) -> None:
    node = shown(activity_id, 2)
    assert (node["state"], node["attempts"], node["waits_for"]) == ("running", 1, "tool weather, attempt 2")


@pytest.mark.parametrize(
    ("activity_id", "attempt", "total"), [("answer[7]", 2, 10), ("answer", 1, None), ("b", 2, None)]
)
def test_first_attempts_items_and_other_steps_change_nothing(
    activity_id: str, attempt: int, total: int | None
) -> None:
    node = shown(activity_id, attempt, total=total)
    assert (node["state"], node["attempts"], node["waits_for"]) == ("running", 1, None)
