"""Messages and decisions from the command line: names that nobody waits for are told."""

from __future__ import annotations

import time
import uuid

import pytest
from tests.server.conftest import Cli

DAG = """
name: asks
options: {timeout: 1h}
nodes:
  - {id: first, type: approval, config: {prompt: "First?", name: agree}}
  - {id: second, type: approval, config: {prompt: "Second?", name: confirm}, depends_on: [first]}
  - {id: paid, type: wait, config: {event: payment}, depends_on: [second]}
"""


@pytest.fixture
def asking(cli: Cli) -> str:
    """The id of a run of a DAG that waits for an approval; no worker is needed for what follows."""
    (cli.folder / "asks.yaml").write_text(DAG, "utf-8")
    run = f"asks-{uuid.uuid4().hex}"
    with cli.background("worker", "flows.py", "--queue", "default"):
        started = cli("run", "asks.yaml", "--id", run, "--no-wait")
        assert started.returncode == 0, started.stderr
        end = time.monotonic() + 30
        while not cli.json("runs", "show", run)["waits"]:
            assert time.monotonic() < end
            time.sleep(0.2)
    return run


def test_a_decision_that_no_open_approval_takes_is_refused(cli: Cli, asking: str) -> None:
    wrong = cli("approvals", "decide", asking, "agre", "--approve")
    assert wrong.returncode == 3
    assert "no approval 'agre'. Did you mean 'agree'? It has: agree, confirm, payment" in wrong.stderr
    assert cli("approvals", "decide", asking, "agre", "--approve", "--ahead").returncode == 3
    early = cli("approvals", "decide", asking, "confirm", "--approve")
    assert early.returncode == 3
    assert "Open are: agree; --ahead" in early.stderr
    assert cli("approvals", "decide", asking, "confirm", "--approve", "--ahead").returncode == 0
    assert cli("approvals", "decide", asking, "agree", "--approve").returncode == 0
    with cli.background("worker", "flows.py", "--queue", "default"):
        end = time.monotonic() + 30
        while [wait["name"] for wait in cli.json("runs", "show", asking)["waits"]] != ["payment"]:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_a_message_that_no_node_waits_for_is_sent_with_a_warning(cli: Cli, asking: str) -> None:
    wrong = cli("runs", "send", asking, "paymnt", "1")
    assert (wrong.returncode, "Did you mean 'payment'?" in wrong.stderr) == (0, True), wrong.stderr
    right = cli("runs", "send", asking, "payment", "1")
    assert (right.returncode, "no node" in right.stderr) == (0, False), right.stderr


def test_a_run_is_shown_and_listed_under_the_name_of_its_dag(cli: Cli, asking: str) -> None:
    end = time.monotonic() + 30
    while asking not in {run["id"] for run in cli.json("runs", "list", "--workflow", "asks")}:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert "holdfast.dag" not in cli("runs", "show", asking).stdout
    assert asking not in {run["id"] for run in cli.json("runs", "list", "--workflow", "hello")}
