"""`holdfast breakers`, and what it shows while the worker that tries a service is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.server.conftest import Cli

FLOWS = """
import asyncio
import os
from datetime import timedelta
from pathlib import Path

from holdfast import Breaker, RetryPolicy, step, step_info, workflow

HERE = Path(__file__).parent
SOON = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=50))

def note(what):
    with open(HERE / "calls", "a") as file:
        file.write(f"{what} {step_info().run_id} {os.getpid()}\\n")

DEPOT = Breaker(key="depot", failures=1, reset=timedelta(seconds=2))

@step(breaker=DEPOT, retry=SOON, heartbeat=timedelta(seconds=2))
async def ship() -> str:
    state = (HERE / "depot").read_text()
    note(state)
    if state == "down":
        raise ConnectionError("the depot does not answer")
    await asyncio.sleep(3600 if state == "hangs" else 0.3)
    note("done")
    return state

@workflow
async def ships() -> str:
    return await ship()
"""


def _until(reached: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)


def _calls(folder: Path) -> list[list[str]]:
    file = folder / "calls"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def _depot(cli: Cli) -> dict[str, Any] | None:
    return next((one for one in cli.json("breakers", "list") if one["key"] == "depot"), None)


def test_a_worker_that_is_killed_while_it_tries_is_replaced_and_the_breaker_closes(cli: Cli) -> None:
    """The guide: a try that is lost is replaced; no breaker stays half-open for ever."""
    (cli.folder / "shipping.py").write_text(FLOWS)
    (cli.folder / "depot").write_text("down")
    assert _depot(cli) is None
    with cli.background("worker", "shipping.py", "--quiet") as first:
        assert cli("run", "shipping.py:ships", "--id", "one", "--no-wait").returncode == 0
        _until(lambda: bool(_calls(cli.folder)))
        (cli.folder / "depot").write_text("hangs")
        _until(lambda: _calls(cli.folder)[-1][0] == "hangs")
        shown = _depot(cli)
        assert shown is not None
        assert (shown["state"], shown["opened"]) == ("half-open", len(_calls(cli.folder)) - 1)
        assert "half-open" in cli("breakers", "list").stdout
        assert cli("run", "shipping.py:ships", "--id", "two", "--no-wait").returncode == 0
        assert cli("run", "shipping.py:ships", "--id", "three", "--no-wait").returncode == 0
        (cli.folder / "depot").write_text("up")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    before = len(_calls(cli.folder))
    tried = [call for call in _calls(cli.folder) if call[0] == "hangs"]
    assert tried == [["hangs", "one", str(first.process.pid)]]
    with cli.background("worker", "shipping.py", "--quiet"):
        runs = ("one", "two", "three")
        _until(lambda: all(cli.json("runs", "show", run)["state"] == "completed" for run in runs))
    after = [what for what, *_ in _calls(cli.folder)[before:]]
    assert after[:2] == ["up", "done"], "the next one tried alone"
    assert sorted(after) == ["done"] * 3 + ["up"] * 3
    closed = _depot(cli)
    assert closed is not None
    assert (closed["state"], closed["failures"], closed["until"]) == ("closed", 0, None)
    for run_id in ("two", "three"):
        (step,) = cli.json("runs", "show", run_id)["steps"]
        assert (step["state"], step["attempt"]) == ("completed", 1), "waiting used up no attempt"
