"""`holdfast triggers`, as its users type it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Cli

from holdfast.store.database import FILE_NAME, Database

DECLARING = """
from datetime import timedelta
from holdfast import workflow
from holdfast.triggers import Cron, Interval, Trigger

@workflow(triggers=[Trigger(Interval(timedelta(hours=1)), name="{name}")])
async def declaring() -> None: ...
"""
DOCUMENT = '{"name": "doc", "nodes": [{"id": "a", "type": "transform", "config": {"expression": "input"}}]}'


def test_a_trigger_from_its_making_to_its_end(cli: Cli, cli_home: Path) -> None:
    Database.open(cli_home / FILE_NAME).close()  # where actions are recorded
    # The app is imported, in a process of its own, so that other tests do not see it.
    done = cli.process(
        "triggers", "create", "daily", "flows.py:hello", "--cron", "0 9 * * 1-5", "--timezone", "Europe/Berlin",
        "-i", '{"name": "Ada"}', "--overlap", "buffer_one", "--paused", "--note", "soon",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "0 9 * * 1-5 Europe/Berlin" in done.stdout
    found = cli.json("triggers", "show", "daily")
    assert (found["kind"], found["paused"], found["policy"]["overlap"]) == ("cron", True, "buffer_one")
    assert len(found["next"]) == 5
    assert cli("triggers", "resume", "daily").stdout == "daily resumed\n"
    assert cli.json("triggers", "pause", "daily", "-m", "holidays")["done"] == "paused"
    assert "holidays" in cli("triggers", "show", "daily").stdout
    assert cli("triggers", "fire", "daily", "--payload", "1").returncode == 2
    assert cli.json("triggers", "fire", "daily", "--overlap", "allow_all")["done"] == "fired"
    assert cli("triggers", "update", "daily").returncode == 2
    found = cli.json(
        "triggers", "update", "daily", "--catchup-window", "2h", "--reason", "late", "--by", "Ada"
    )
    assert (found["on"], found["policy"]["overlap"]) == ("0 9 * * 1-5 Europe/Berlin", "buffer_one")
    assert found["policy"]["catchup_window"] in (7200, 7200.0, "2:00:00")
    bounds = ("--start", "2026-11-02", "--end", "2026-12-01T00:00+01:00", "--no-pause-on-failure")
    found = cli.json("triggers", "update", "daily", "--calendar", "day_of_week=1-5 hour=9,17", *bounds)
    assert (found["kind"], found["policy"]["overlap"]) == ("calendar", "buffer_one")
    actions = cli.json("runs", "actions", "--on", "trigger daily", "--by", "Ada")
    assert [(one["what"], one["why"]) for one in actions] == [("update trigger", "late")]
    assert "trigger daily" in cli("runs", "actions").stdout
    assert cli("triggers", "update", "daily", "--cron", "0 9 * * 1-5").returncode == 0
    range_of = ("--from", "2026-11-02", "--to", "2026-11-08T00:00+00:00")
    done = cli("triggers", "backfill", "daily", *range_of)
    assert (done.returncode, "5 runs would be started" in done.stderr) == (2, True)
    assert "5 times" in cli("triggers", "backfill", "daily", *range_of, "--dry-run").stdout
    assert cli("triggers", "backfill", "daily", *range_of, "--yes", "--max-count", "4").returncode == 2
    assert cli.json("triggers", "backfill", "daily", *range_of, "--yes") == {
        "trigger": "daily",
        "times": 5,
        "started": 5,
    }
    assert cli("triggers", "delete", "daily").returncode == 0
    assert cli("triggers", "show", "daily").returncode == 3
    assert cli("triggers", "delete", "daily").returncode == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "say when"),
        (("--cron", "0 9 * *"), "has 4 fields"),
        (("--cron", "0 9 30 2 *"), "February never comes"),
        (("--cron", "0 9 * * *", "--timezone", "Berlin"), "timezone='Berlin'"),
        (("--every", "500ms"), "a second or more"),
        (("--every", "1h", "--cron", "0 9 * * *"), "say when"),
        (("--every", "1h", "--where", "true"), "--where"),
        (("--every", "1h", "--timezone", "UTC"), "--timezone is for"),
        (("--every", "1h", "--start", "soon"), "is no time"),
        (("--every", "1h", "--start", "2026-11-02", "--end", "2026-11-01"), "is not after"),
        (("--jitter", "1m"), "say when"),
        (("--calendar", "hours=9"), "'hours=9' is no field"),
        (("--calendar", "day_of_month=30 month=2"), "February never comes"),
        (("--calendar", " "), "name at least one"),
        (("--event", "x", "--jitter", "1m"), "--jitter, --start"),
        (("--every", "1h", "-i", "[1, 2, 3]"), "hello"),
        (("--event", "workflow.ended"), "is none of"),
        (("--event", "x", "--where", "payload."), "where"),
        (("--event", "x", "-i", "1"), "--input is for"),
        (("--event", "x", "--overlap", "allow_all"), "--overlap"),
        (("--webhook", "not a name"), "the name of a secret"),
    ],
)
def test_what_cannot_be_is_told(cli: Cli, options: tuple[str, ...], told: str) -> None:
    call = cli.process if "[1, 2, 3]" in options else cli  # the one that imports the app
    done = call("triggers", "create", "wrong", "flows.py:hello", *options)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr


def test_hostile_names_are_shown_harmless(cli: Cli) -> None:
    (cli.folder / "doc.json").write_text(DOCUMENT, "utf-8")
    for name in ("\x1b[31m", "a\nb", "=1+1", "x" * 5000):
        done = cli("triggers", "create", name, "doc.json", "--every", "1h")
        assert done.returncode == 2
        assert "\x1b" not in done.stderr
        assert cli("triggers", "show", name).returncode in (2, 3)


def test_events_webhooks_and_documents(cli: Cli) -> None:
    (cli.folder / "doc.json").write_text(DOCUMENT, "utf-8")
    made = cli.json(
        "triggers",
        "create",
        "on-failure",
        "doc.json",
        "--event",
        "workflow.failed",
        "--make",
        "payload.error",
    )
    assert (made["kind"], made["workflow"]) == ("event", "doc")
    made = cli.json(
        "triggers", "create", "billing", "doc.json", "--webhook", "BILLING", "--where", "payload.paid"
    )
    assert made["on"] == "webhook signed by BILLING where payload.paid"
    listed = {one["name"]: one["kind"] for one in cli.json("triggers", "list")}
    assert listed.items() >= {"on-failure": "event", "billing": "webhook"}.items()
    listing = cli("triggers", "list")
    assert "workflow.failed" in listing.stdout
    assert "no indexer is at work" in listing.stderr  # this home goes without
    run = cli.json("triggers", "fire", "on-failure", "--payload", '{"error": "x"}')["run_id"]
    assert run.startswith("trigger-on-failure-")
    assert cli("triggers", "create", "billing", "doc.json", "--event", "x").returncode == 2
    for name in ("on-failure", "billing"):
        assert cli("triggers", "delete", name).returncode == 0


def test_sync_makes_and_prunes(cli: Cli) -> None:
    def sync(*options: str) -> Any:
        done = cli.process("triggers", "sync", "declaring.py", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    file: Path = cli.folder / "declaring.py"
    file.write_text(DECLARING.format(name="first"), "utf-8")
    assert sync() == "first: created\n"
    file.write_text(DECLARING.format(name="second"), "utf-8")
    assert sync("--prune") == "second: created\nfirst: pruned\n"
    assert cli("triggers", "delete", "second").returncode == 0
