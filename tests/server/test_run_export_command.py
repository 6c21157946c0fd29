"""`holdfast runs export` and `runs cost`, as a user has them."""

from __future__ import annotations

import json
from pathlib import Path

from holdfast.testing.replay import load_histories

from .conftest import Cli


def test_a_run_is_written_as_a_page_a_history_and_a_test(cli: Cli, finished_run: str, tmp_path: Path) -> None:
    page, history, test = tmp_path / "run.html", tmp_path / "run.json", tmp_path / "test_run.py"
    done = cli("runs", "export", finished_run, "--html", str(page), "--history", str(history))
    assert done.returncode == 0, done.stderr
    assert "Hello, Ada!" in page.read_text("utf-8")
    assert [one.workflow_id for one in load_histories(history)] == [finished_run]
    assert cli.json("runs", "export", finished_run) == json.loads(history.read_text("utf-8"))

    written = cli.process("runs", "export", finished_run, "--pytest", str(test), "--app", "flows.py")
    assert written.returncode == 0, written.stderr
    text = test.read_text("utf-8")
    compile(text, str(test), "exec")
    assert "from flows import hello" in text
    assert "RecordedStep('greet', ['Ada'], result='Hello, Ada!')" in text


def test_what_cannot_be_written_is_said(cli: Cli, finished_run: str, tmp_path: Path) -> None:
    assert cli("runs", "export", finished_run).returncode == 2
    assert cli("runs", "export", finished_run, "--pytest", "x.py").returncode == 2
    assert cli("runs", "export", finished_run, "--html", str(tmp_path / "no" / "x.html")).returncode == 2
    assert cli("runs", "export", "no-such-run", "--html", str(tmp_path / "x.html")).returncode == 3


def test_the_cost_of_a_run_is_told(cli: Cli, finished_run: str) -> None:
    said = cli("runs", "cost", finished_run)
    assert said.returncode == 0, said.stderr
    assert "1 starts, 1 steps" in said.stdout
    assert "docs.temporal.io" in said.stderr
    assert cli.json("runs", "cost", finished_run)["action_count"] == 2
