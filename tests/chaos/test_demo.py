"""`holdfast demo --chaos`: its runs survive, and its verdict sees what it is there to see."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast import RunState, StepState
from holdfast.client.description import RunDescription, StepDescription
from holdfast_server.demo.ledger import Entry
from holdfast_server.demo.verdict import judge, wrong_ends

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

STEP = StepDescription(
    name="charge",
    ordinal=1,
    activity_id="charge-1",
    state=StepState.COMPLETED,
    attempt=2,
    closed=BEGAN + timedelta(seconds=10),
)
RUN = RunDescription(
    id="order", workflow="fulfil", state=RunState.COMPLETED, queue="q", execution_id="e", steps=[STEP]
)
START = Entry(
    event="start",
    run_id="order",
    step="charge",
    label="",
    key="order/charge-1",
    attempt=1,
    pid=1,
    at=BEGAN.timestamp(),
)
SECOND = replace(START, attempt=2, pid=2, at=START.at + 8)
GOOD = [START, SECOND, replace(SECOND, event="end", at=START.at + 9)]


def test_what_died_and_was_made_again_is_no_doubt() -> None:
    verdict = judge([RUN], GOOD)
    assert verdict.doubts == []
    assert (verdict.step_count, verdict.execution_count, verdict.cut_off_count, verdict.retry_count) == (
        1,
        2,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("run", "entries", "said"),
    [
        (RUN, [*GOOD, replace(SECOND, pid=3, at=START.at + 11)], "had ended, and began again in process 3"),
        (RUN, [*GOOD, replace(SECOND, at=START.at + 8.5)], "began 3 times in 2 attempts"),
        (RUN, GOOD[:2], "the ledger has no end of it"),
        (
            RUN,
            [*GOOD, replace(START, key="order/charge-2")],
            "the ledger has order/charge-2, which no run has",
        ),
        (replace(RUN, state=RunState.STUCK, stuck="no worker"), GOOD, "has not ended: no worker"),
    ],
)
def test_the_verdict_sees(run: RunDescription, entries: list[Entry], said: str) -> None:
    assert any(said in doubt for doubt in judge([run], entries).doubts)


def test_a_run_that_gave_something_else_is_named() -> None:
    assert wrong_ends({"order": RUN}, {"order": (3, 3)}) == []
    assert wrong_ends({"order": RUN}, {"order": (3, 4)})[0].startswith("run order gave 4 in place of 3")


def test_the_demo_kills_its_workers_and_all_runs_end_as_they_should(tmp_path: Path) -> None:
    profile = {"name": "test", "crash": 0.3, "error": 0.3, "interval": 5, "max_events": 1}
    command = [sys.executable, "-m", "holdfast_server.cli", "demo", "--chaos", "--count", "14", "--json"]
    done = subprocess.run(
        [*command, "--seed", "1", "--profile", json.dumps(profile)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert (shown["shown"], shown["doubts"], shown["success_count"], shown["run_count"]) == (True, [], 14, 18)
    assert shown["killed_count"] >= 1
    assert shown["injected"]["crash"] >= 1
    assert shown["recovered"]["crash"] >= 1
    assert shown["compensation_count"] == 4
    subprocess.run(
        [sys.executable, "-m", "holdfast_server.cli", "stop", "--home", shown["home"]],
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
