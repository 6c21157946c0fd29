"""`holdfast indexer`: from a run on an embedded server to rows in `history.db`."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

from tests.server.conftest import Cli
from tests.store.made import made

from holdfast.store.database import Database
from holdfast.store.writer import write_runs


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


def test_a_rebuild_reads_all_again_and_keeps_what_temporal_has_deleted(
    cli: Cli, cli_home: Path, finished_run: str
) -> None:
    database = Database.open(cli_home / "history.db")
    write_runs(database, [made("only-here")])
    database.close()
    cli.process("indexer", "--once")
    told = json.loads(cli.process("indexer", "--rebuild", "--json", "--reason", "to see").stdout)
    assert told["stored"] >= 1, "it was stored already, and was read again"
    assert stored(cli_home, finished_run) == "completed"
    assert stored(cli_home, "only-here") == "completed"
    [*_, done] = cli.json("runs", "actions", "--on", "database", "--limit", "1")
    assert (done["what"], done["why"]) == ("rebuild", "to see")


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
