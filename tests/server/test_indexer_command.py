"""`holdfast indexer`: from a run on an embedded server to rows in `history.db`."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

from tests.server.conftest import Cli


def stored(home: Path, run: str) -> str | None:
    with sqlite3.connect(home / "history.db") as connection:
        found = connection.execute("SELECT state FROM runs WHERE id = ?", (run,)).fetchone()
    connection.close()
    return None if found is None else str(found[0])


def test_once_stores_what_has_ended_and_says_so(cli: Cli, cli_home: Path, finished_run: str) -> None:
    (cli.folder / "doc.json").write_text(
        '{"name": "doc", "nodes": [{"id": "a", "type": "transform", "config": {"expression": "input"}}]}',
        "utf-8",
    )
    assert cli("triggers", "create", "once", "doc.json", "--event", "once-orders").returncode == 0
    assert cli("events", "publish", "once-orders", "1").returncode == 0
    told = json.loads(cli.process("indexer", "--once", "--json").stdout)
    assert cli("triggers", "delete", "once").returncode == 0
    assert (told["unreadable"], told["fired"]) == (0, 1)
    assert told["lag_seconds"] >= 0
    assert stored(cli_home, finished_run) == "completed"
    again = cli.process("indexer", "--once")
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout


def test_rebuild_refuses_to_lose_what_temporal_has_deleted(
    cli: Cli, cli_home: Path, finished_run: str
) -> None:
    cli.process("indexer", "--once")
    with sqlite3.connect(cli_home / "history.db") as connection:
        columns = "first_execution_id, workflow, version, state, started, closed, observed"
        for number in range(1000):
            connection.execute(
                f"INSERT INTO executions (key, execution_id, run_key, {columns}) "
                "VALUES (?, ?, 0, '', 'old', '', 'completed', 1, 2, 3)",
                (number, f"old-{number}"),
            )
    connection.close()
    refused = cli.process("indexer", "--rebuild")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    done = cli.process("indexer", "--rebuild", "--force")
    assert done.returncode == 0, done.stderr
    assert stored(cli_home, finished_run) == "completed"
    [*_, refusal] = cli.json("runs", "actions", "--on", "database", "--limit", "1")
    assert (refusal["what"], refusal["details"]) == ("rebuild", {"force": True})


def test_a_serving_indexer_follows_and_ends_with_0_on_sigterm(cli: Cli, cli_home: Path) -> None:
    run = "hello-served"
    done = cli("run", "flows.py:hello", "-i", '"Bea"', "--id", run)
    assert done.returncode == 0, done.stderr
    with cli.background("indexer") as serving:
        serving.until(lambda output: "database" in output)
        deadline = time.monotonic() + 60
        while stored(cli_home, run) != "completed":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert serving.stop() == 0
