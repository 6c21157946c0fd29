"""`holdfast run`, and looking at runs afterwards."""

from __future__ import annotations

import json
import signal
import time
import uuid
from pathlib import Path

import pytest
from tests.server.conftest import Cli


def test_a_run_prints_its_result_and_nothing_else_on_stdout(cli: Cli) -> None:
    done = cli("run", "flows.py:hello", "--input", '"Ada"')
    assert (done.returncode, done.stdout) == (0, '"Hello, Ada!"\n'), done.stderr
    assert f"home {cli.home}" in done.stderr
    assert "greeting Ada" in done.stderr


def test_a_failed_run_shows_why(cli: Cli) -> None:
    run = f"failing-{uuid.uuid4().hex}"
    done = cli("run", "flows.py:failing", "--input", '"[red]no\\u001b[31m"', "--id", run, "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer["id"], answer["state"], answer["error"]["code"]) == (run, "failed", "HF-3002")
    shown = cli("runs", "show", run)
    assert shown.returncode == 0
    for word in ("failed", "refuse", "[red]no\\x1b[31m", f"/workflows/{run}/"):
        assert word in shown.stdout
    assert "\x1b" not in done.stdout + done.stderr + shown.stdout + shown.stderr
    assert cli("runs", "watch", run).returncode == 1


def test_an_id_is_taken_once(cli: Cli, finished_run: str) -> None:
    again = cli("run", "flows.py:hello", "-i", '"b"', "--id", finished_run)
    assert (again.returncode, "HF-1006" in again.stderr) == (2, True)
    kept = cli("run", "flows.py:hello", "-i", '"b"', "--id", finished_run, "--if-exists", "return")
    assert kept.stdout == '"Hello, Ada!"\n'


def test_a_run_that_nobody_serves_is_stuck_until_a_worker_comes(cli: Cli) -> None:
    run = f"hello-{uuid.uuid4().hex}"
    started = cli("run", "flows.py:hello", "-i", '"Ada"', "--id", run, "--queue", run, "--no-wait")
    assert (started.returncode, started.stdout) == (0, f"{run}\n")
    assert "no worker polls" in started.stderr
    end = time.monotonic() + 30
    while run not in (found := cli("stuck", "--json")).stdout and time.monotonic() < end:
        time.sleep(0.2)
    assert found.returncode == 1
    assert run in {stuck["id"] for stuck in json.loads(found.stdout)}
    shown = cli("runs", "show", run)
    assert f"no worker polls queue '{run}'" in shown.stdout
    with cli.background("worker", "flows.py", "--queue", run):
        watched = cli("runs", "watch", run)
    assert (watched.returncode, "completed" in watched.stdout) == (0, True), watched.stdout


def test_an_approval_is_decided_by_another_process(cli: Cli) -> None:
    run = f"patient-{uuid.uuid4().hex}"
    with cli.background("run", "flows.py:patient", "--id", run, "--queue", run) as waiting:
        waiting.until(lambda output: f"run {run}" in output)
        with cli.background("runs", "watch", run) as watching:
            watching.until(lambda output: "waiting" in output)
        listed = [a for a in cli.json("approvals", "list") if a["run_id"] == run]
        assert [(a["name"], a["prompt"]) for a in listed] == [("ship-it", "Ship it?")]
        wrong = cli("approvals", "decide", run, "--input", '{"approved": "perhaps"}')
        assert (wrong.returncode, "HF-1001" in wrong.stderr) == (2, True), wrong.stderr
        decided = cli("approvals", "decide", run, "--approve", "--by", "Ada")
        assert decided.returncode == 0, decided.stderr
        assert waiting.process.wait(30) == 0
        assert '"True by Ada"' in waiting.output
    late = cli("approvals", "decide", run, "ship-it", "--reject")
    assert (late.returncode, "HF-1008" in late.stderr) == (2, True), late.stderr


def test_ctrl_c_ends_the_waiting_but_not_the_run(cli: Cli) -> None:
    run = f"patient-{uuid.uuid4().hex}"
    with cli.background("run", "flows.py:patient", "--id", run, "--queue", run) as waiting:
        waiting.until(lambda output: f"run {run}" in output)
        assert waiting.stop(signal.SIGINT) == 130
        assert f"run {run} is not cancelled" in waiting.output
        assert "Traceback" not in waiting.output
    assert cli.json("runs", "show", run)["closed"] is None
    assert cli("runs", "terminate", run, "--reason", "test").returncode == 0
    assert cli.json("runs", "show", run)["state"] == "terminated"


def test_pause_resume_and_cancel(cli: Cli) -> None:
    run = f"patient-{uuid.uuid4().hex}"
    with cli.background("run", "flows.py:patient", "--id", run, "--queue", run) as waiting:
        waiting.until(lambda output: f"run {run}" in output)
        assert cli("runs", "pause", run, "--reason", "lunch", "--by", "Ada").returncode == 0
        paused = cli("runs", "show", run).stdout
        assert "paused" in paused
        assert "lunch" in paused
        assert cli("runs", "resume", run).returncode == 0
        assert cli("runs", "cancel", run).returncode == 0
        assert waiting.process.wait(30) == 1
    assert cli.json("runs", "show", run)["state"] == "cancelled"


@pytest.mark.usefixtures("finished_run")
def test_a_list_is_filtered(cli: Cli) -> None:
    found = cli.json("runs", "list", "--workflow", "hello", "--state", "completed", "--limit", "2")
    assert {(run["workflow"], run["state"]) for run in found} <= {("hello", "completed")}


@pytest.mark.usefixtures("finished_run")
def test_gc_reports_first(cli: Cli) -> None:
    report = cli.json("gc")
    assert (report["dry_run"], report["deleted"], report["unreadable"]) == (True, False, [])


def test_stop_ends_the_server_of_a_home(cli: Cli, tmp_path: Path) -> None:
    own = Cli(home=tmp_path / "own", folder=cli.folder)
    assert own("run", "flows.py:hello", "-i", '"x"').returncode == 0
    assert own.json("stop") == {"home": str(own.home), "stopped": True}
    assert own.json("stop")["stopped"] is False
    assert own("runs", "list").returncode == 4


def test_a_node_of_a_dag_is_skipped_by_hand(cli: Cli) -> None:
    (cli.folder / "flows.py").write_text(
        "from holdfast import Dag\nasks = Dag('asks')\nasks.add_wait('answer', 'answer')\n", "utf-8"
    )
    run = f"asks-{uuid.uuid4().hex}"
    with cli.background("run", "flows.py:asks", "--id", run, "--queue", run, "--worker") as waiting:
        waiting.until(lambda output: f"run {run}" in output)
        # A run waits before it answers anything: its first task has no other work.
        assert cli.json("runs", "state", run)["nodes"]["answer"]["state"] == "waiting"
        unknown = cli("runs", "update", run, "skip_node", '"other"')
        assert (unknown.returncode, "has no node 'other'; it has answer" in unknown.stderr) == (2, True)
        assert cli("runs", "update", run, "skip_node", '"answer"').returncode == 0
        assert waiting.process.wait(30) == 0
    assert cli.json("runs", "show", run)["state"] == "completed"
