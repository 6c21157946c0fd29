"""`holdfast events`: what happens is printed as it comes, and can be read again from a cursor."""

from __future__ import annotations

import json
from pathlib import Path

from tests.server.conftest import Cli

from holdfast.store.database import Database
from holdfast.store.events import subscribe


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_what_is_published_is_tailed_by_another_process(cli: Cli) -> None:
    first = cli.json("events", "publish", "news", '{"n": 1}')["cursor"]
    with cli.background("events", "tail", "--channel", "news", "--json") as tailing:
        tailing.until(lambda output: len(lines(output)) == 1)
        done = cli("events", "publish", "news", '"\\u001b[31mred"')
        assert "stored with cursor" in done.stdout
        output = tailing.until(lambda output: len(lines(output)) == 2)
        assert tailing.stop() == 0
    assert [event["payload"] for event in lines(output)] == [{"n": 1}, "\x1b[31mred"]
    again = cli("events", "tail", "--channel", "news", "--after", str(first), "--no-follow")
    assert again.returncode == 0, again.stderr
    assert "\\u001b[31mred" in again.stdout
    assert "\x1b" not in again.stdout
    assert '"n"' not in again.stdout


def test_the_events_of_a_run_are_printed(cli: Cli, finished_run: str) -> None:
    assert cli.process("indexer", "--once").returncode == 0
    found = cli("events", "tail", "--run", finished_run, "--kind", "workflow.*", "--no-follow", "--json")
    assert [event["kind"] for event in lines(found.stdout)] == ["workflow.started", "workflow.completed"]
    told = cli("events", "tail", "--run", finished_run, "--no-follow", "--after", "0")
    assert "step.completed" in told.stdout
    assert "greet" in told.stdout


def test_subscriptions_are_listed_and_forgotten(cli: Cli, cli_home: Path) -> None:
    database = Database.open(cli_home / "history.db")
    for name, cursor in (("mine", 7), ("holdfast.triggers", 8)):
        subscribe(database, name, cursor)
    database.close()
    found = {one["name"]: one["cursor"] for one in cli.json("events", "subscriptions")}
    assert found == {"mine": 7, "holdfast.triggers": 8}
    assert "mine" in cli("events", "subscriptions").stdout
    assert cli("events", "unsubscribe", "holdfast.triggers").returncode == 2
    assert cli("events", "unsubscribe", "mine", "--reason", "gone").stdout == "mine forgotten\n"
    assert cli("events", "unsubscribe", "mine").returncode == 3
    [_, action] = cli.json("runs", "actions", "--on", "subscription mine")
    assert (action["what"], action["why"], action["result"]) == ("delete subscription", "gone", "done")


def test_wrong_use_is_refused(cli: Cli) -> None:
    assert cli("events", "publish", "runs", "1").returncode == 2
    assert cli("events", "publish", "news", "{").returncode == 2
    assert cli("events", "tail", "--channel", "news", "--after", "99999999", "--no-follow").returncode == 2
    assert cli("events", "tail", "--kind", "*.failed", "--no-follow").returncode == 2
