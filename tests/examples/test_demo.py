"""The demo, from end to end: a worker process is killed, its run finishes, nothing completed is done again."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from holdfast import Client, RunState
from holdfast.client.description import RunDescription
from holdfast_server.demo import ledger
from holdfast_server.demo.driver import find_examples

RunScript = Callable[..., "subprocess.CompletedProcess[str]"]
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demo_kills_its_worker_does_completed_steps_once_and_writes_an_approved_briefing(
    run_script: RunScript, home: Path, tmp_path: Path
) -> None:
    done = run_script(EXAMPLES / "demo.py", "--home", str(home), timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = re.findall(r"^ +run +(\S+)$", done.stdout, re.MULTILINE)
    assert [run.rpartition("-")[0] for run in runs] == ["weather", "fulfil", "briefing"]

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

    briefing = asyncio.run(described(home, runs[2]))
    assert [(step.activity_id, step.name) for step in briefing.steps] == [
        ("fetch", "executor:http"),
        ("fetch-2", "executor:http"),
        ("fetch-3", "executor:http"),
        ("fetch-4", "executor:http"),
        ("months", "executor:transform"),
        ("summary", "executor:llm"),
        ("write", "write_briefing"),
    ]
    assert "the run asks: Publish 'December is Seattle's wettest month'?" in done.stdout
    assert "the demo approves publish: delivered" in done.stdout
    assert "4 pages with" in done.stdout
    assert "was asked 1 time" in done.stdout
    assert "✓ publish" in done.stdout
    written = (tmp_path / "demo-output" / "briefing.md").read_text("utf-8")
    assert written.startswith("# December is Seattle's wettest month\n")

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
    assert asyncio.run(described(home, run_id)).state is RunState.TERMINATED


NOBODY_PUBLISHES = """
import asyncio, sys
from holdfast_server.demo import driver

async def nothing(*of: object) -> None:
    pass

driver._weather = driver._order = nothing
driver.FakeLLM.rule = lambda llm, pattern, outcome: llm.script(*["no JSON"] * 9)
sys.exit(asyncio.run(driver.run_demo()))
"""


def test_a_briefing_that_never_asks_fails_the_demo_with_the_reason(
    run_script: RunScript, tmp_path: Path
) -> None:
    script = tmp_path / "nobody_publishes.py"
    script.write_text(NOBODY_PUBLISHES, encoding="utf-8")
    done = run_script(script, timeout=120)
    assert done.returncode == 1, done.stderr
    assert re.search(r"The demo failed: run briefing-\w+ is failed: StepFailed: .*'summary'", done.stdout)
    assert not (tmp_path / "demo-output" / "briefing.md").exists()


WITHOUT_JQ = """
import asyncio, sys
from holdfast_server.demo import driver
sys.modules["jq"] = None
asyncio.run(driver.run_demo())
"""


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    run_script: RunScript, tmp_path: Path
) -> None:
    script = tmp_path / "without_jq.py"
    script.write_text(WITHOUT_JQ, encoding="utf-8")
    done = run_script(script)
    assert done.returncode == 1
    assert "the demo needs jq: pip install 'holdfast[demo]'" in done.stderr


async def described(home: Path, run_id: str) -> RunDescription:
    async with Client.embedded(home) as client:
        return await client.get(run_id).describe()
