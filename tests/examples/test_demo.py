"""The demo, from end to end: a worker process is killed, its run finishes, nothing completed is done again."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from holdfast import Client, RunState
from holdfast_server.demo import ledger
from holdfast_server.demo.driver import find_examples

RunScript = Callable[..., "subprocess.CompletedProcess[str]"]
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demo_kills_its_worker_and_every_completed_step_is_done_once(
    run_script: RunScript, home: Path, tmp_path: Path
) -> None:
    done = run_script(EXAMPLES / "demo.py", "--home", str(home), timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = re.findall(r"^ +run +(\S+)$", done.stdout, re.MULTILINE)
    assert [run.rpartition("-")[0] for run in runs] == ["weather", "fulfil"]

    weather = ledger.read(tmp_path / ledger.LEDGER, runs[0])
    ends = Counter(entry.key for entry in weather if entry.event == "end")
    assert sorted(ends.values()) == [1] * 6
    starts = Counter(entry.key for entry in weather if entry.event == "start")
    assert max(starts.values()) == 2
    assert len({entry.pid for entry in weather}) == 2

    order = ledger.read(tmp_path / ledger.LEDGER, runs[1])
    assert [(e.step, e.event) for e in order] == [
        ("reserve", "start"),
        ("reserve", "end"),
        ("charge", "start"),
        ("charge", "failed"),
        ("reserve.compensate", "start"),
        ("reserve.compensate", "end"),
    ]
    assert "6 of 6 completed steps were done once" in done.stdout
    assert "undone: reserve raincoat" in done.stdout
    assert re.match(r"Look at these runs: \S*holdfast dev", done.stdout.splitlines()[-1])


def test_the_examples_of_the_checkout_are_found() -> None:
    assert find_examples() == EXAMPLES


TOO_EARLY = """
import asyncio, sys
from holdfast_server.demo import driver
driver._worth_killing = lambda run_id, pid: True
sys.exit(asyncio.run(driver.run_demo()))
"""


def test_a_kill_that_hits_no_running_step_fails_the_demo_and_leaves_no_open_run(
    run_script: RunScript, home: Path, tmp_path: Path
) -> None:
    script = tmp_path / "too_early.py"
    script.write_text(TOO_EARLY, encoding="utf-8")
    done = run_script(script)
    assert done.returncode == 1
    assert "hit no running step" in done.stdout
    run_id = re.findall(r"^ +run +(\S+)$", done.stdout, re.MULTILINE)[0]
    assert asyncio.run(state_of(home, run_id)) is RunState.TERMINATED


async def state_of(home: Path, run_id: str) -> RunState:
    async with Client.embedded(home) as client:
        return await client.get(run_id).status()
