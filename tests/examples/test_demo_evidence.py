"""The demo doubts itself: what the ledger shows is believed only when it fits the run's history."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest

from holdfast import RunState, StepState
from holdfast.client.description import RunDescription, StepDescription
from holdfast_server.demo import ledger
from holdfast_server.demo.evidence import doubts, gather
from holdfast_server.demo.ledger import Entry, recorded, repeated, running

RUN = "weather-1"


def entry(event: Literal["start", "end", "failed"], step: str, *, attempt: int = 1, pid: int = 7) -> Entry:
    key = f"{RUN}/{step}-1"
    return Entry(event=event, run_id=RUN, step=step, label="", key=key, attempt=attempt, pid=pid, at=0.0)


def described(states: Iterable[tuple[str, StepState]]) -> RunDescription:
    steps = [
        StepDescription(name=name, ordinal=1, activity_id=f"{name}-1", state=state, attempt=1)
        for name, state in states
    ]
    return RunDescription(
        id=RUN, workflow="weather", state=RunState.COMPLETED, queue="demo", execution_id="e", steps=steps
    )


KILLED = [
    entry("start", "load"),
    entry("end", "load"),
    entry("start", "analyse"),
    entry("start", "analyse", attempt=2, pid=8),
    entry("end", "analyse", attempt=2, pid=8),
]
DONE = described([("load", StepState.COMPLETED), ("analyse", StepState.COMPLETED)])


def test_a_step_that_died_with_its_worker_and_was_made_again_raises_no_doubt() -> None:
    assert doubts(DONE, KILLED) == []
    load, analyse = gather(DONE, KILLED)
    assert (load.lost, load.places) == ([], ["7 done"])
    assert ([e.pid for e in analyse.lost], analyse.places) == ([7], ["7 died", "8 done"])


@pytest.mark.parametrize(
    ("entries", "doubt"),
    [
        ([*KILLED, entry("start", "load", attempt=2)], "load  was completed and began again"),
        (KILLED[:-1], "analyse is completed, but the ledger does not have exactly one end"),
        (
            [*KILLED, entry("end", "load", attempt=2)],
            "load is completed, but the ledger does not have exactly one",
        ),
        ([*KILLED, entry("start", "report")], f"the ledger has {RUN}/report-1, which the run does not"),
    ],
)
def test_what_does_not_fit_is_doubted(entries: list[Entry], doubt: str) -> None:
    assert any(doubt in found for found in doubts(DONE, entries))


def test_a_failed_attempt_is_neither_running_nor_repeated() -> None:
    entries = [entry("start", "charge"), entry("failed", "charge"), entry("start", "charge", attempt=2)]
    assert [e.attempt for e in running(entries, 7)] == [2]
    assert repeated(entries) == []
    assert running(entries, 8) == []


def test_a_step_outside_of_a_run_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with recorded("plain call"):
        pass
    assert list(tmp_path.iterdir()) == []
    assert ledger.read(ledger.LEDGER) == []


WRITER = """
import sys
from holdfast.authoring.info import StepInfo, enter
from holdfast_server.demo.ledger import recorded
name = sys.argv[1]
enter(StepInfo(run_id="weather-1", workflow="w", step=name, attempt=1, idempotency_key=name, token=""))
for _ in range(50):
    with recorded("x" * 500):
        pass
"""


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER]
    writers = [subprocess.Popen([*command, f"step {number}"], cwd=tmp_path) for number in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    entries = ledger.read(tmp_path / ledger.LEDGER, RUN)
    assert len(entries) == 3 * 50 * 2
    assert {e.pid for e in entries} == {writer.pid for writer in writers}
