"""Runs found, acted upon and settled from the command line."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Cli
from tests.store.made import failed, shown

from holdfast import Client, Permanent, RunFailed, Worker, approval, step, workflow
from holdfast.indexer import Indexer
from holdfast.store.writer import write_runs

NAMES = ["x' OR '1'='1", 'a "quoted" one', "tea 😀", '=HYPERLINK("http://x")', "nul\x00nul", "y" * 10_000]


@step
async def refuse_order(name: str) -> None:
    raise Permanent(name)


@workflow
async def ordering(name: str) -> None:
    await refuse_order(name)


@workflow
async def holding() -> None:
    await approval("May it?")


def in_home(home: Path, work: Any) -> Any:
    """Do something with a client of the home, and index what came of it."""

    async def do() -> Any:
        async with Client.embedded(home) as client:
            done = await work(client)
            await Indexer(client.temporal, await client.store.database()).catch_up()
            return done

    return asyncio.run(do())


@pytest.fixture(scope="module")
def odd_runs(cli_home: Path) -> list[str]:
    """Failed runs with odd inputs, and one that only the history has."""

    async def make(client: Client) -> list[str]:
        async with Worker(client, [ordering]):
            for number, name in enumerate(NAMES):
                with pytest.raises(RunFailed):
                    await client.run(ordering, name, id=f"odd-{number}")
        gone = failed("odd-gone", "long ago", workflow="forgotten", input=[shown('"tea"')])
        await client.store.call(write_runs, [gone])
        return [f"odd-{number}" for number in range(len(NAMES))]

    found: list[str] = in_home(cli_home, make)
    return found


def test_runs_are_listed_by_what_temporal_cannot_search_for(cli: Cli, odd_runs: list[str]) -> None:
    for number, text in enumerate(["x' OR '1'='1", "quoted", "😀", "=HYPERLINK", "nul\\u0000", "y" * 200]):
        found = cli.json("runs", "list", "--workflow", "ordering", "--text", text)
        assert [run["id"] for run in found] == [f"odd-{number}"], text
    for text in ("' OR 1=1 --", '" OR "', "%", "z" * 10_000):
        assert cli.json("runs", "list", "--text", text) == []
    # Its error has the character itself.
    assert [run["id"] for run in cli.json("runs", "list", "--text", "\x00")] == ["odd-4"]
    assert cli.json("runs", "list", "--workflow", "x' OR '1'='1", "--since", "1d") == []
    first = cli.json(
        "runs", "list", "--state", "failed", "--since", "1d", "--workflow", "ordering", "--limit", "4"
    )
    rest = cli.json(
        "runs", "list", "--state", "failed", "--workflow", "ordering", "--after", first[-1]["after"]
    )
    assert [run["id"] for run in [*first, *rest]] == list(reversed(odd_runs))
    [kind] = {run["fingerprint"] for run in first if run["id"] == "odd-3"}
    assert {run["id"] for run in cli.json("runs", "list", "--fingerprint", kind)} >= {"odd-3"}
    # The type of error by which people know it: what the step raised.
    found = cli.json("runs", "list", "--error-type", "Permanent", "--workflow", "ordering")
    assert {run["id"] for run in found} == set(odd_runs)
    groups = cli.json("runs", "facets", "error_type", "--workflow", "ordering")
    assert [(group["value"], group["count"]) for group in groups] == [("Permanent", len(NAMES))]
    described = cli.json("runs", "show", "odd-0")["error"]
    assert (described["type"], described["step_type"]) == ("StepFailed", "Permanent")
    refused = cli("runs", "list", "--after", "1; DROP TABLE runs")
    assert refused.returncode == 2
    assert cli("runs", "list", "--state", "bogus").returncode == 2
    printed = cli("runs", "list", "--since", "1d", "--workflow", "ordering").stdout
    assert "odd-0" in printed


def test_what_temporal_lists_needs_no_history(
    cli: Cli, finished_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", f"sqlite:///{cli.folder}/none.db")
    for options in ((), ("--state", "completed"), ("--workflow", "hello")):
        assert finished_run in {run["id"] for run in cli.json("runs", "list", "--limit", "1000", *options)}
    refused = cli("runs", "list", "--text", "Ada")
    assert refused.returncode == 4
    assert "holdfast indexer" in refused.stderr


def test_a_run_that_temporal_has_deleted_is_shown_from_the_history(cli: Cli, odd_runs: list[str]) -> None:
    done = cli("runs", "show", "odd-gone")
    assert done.returncode == 0, done.stderr
    assert "from the history" in done.stderr
    assert "long ago" in done.stdout
    assert cli.json("runs", "show", "odd-gone")["from_history"] is True
    assert cli.json("runs", "show", odd_runs[0])["from_history"] is False
    assert cli("runs", "show", "never-there").returncode == 3
    assert cli("runs", "logs", "never-there").returncode == 3
    assert cli("runs", "logs", "odd-gone").returncode == 0


def test_dead_letters_are_looked_at_and_given_up(cli: Cli, odd_runs: list[str]) -> None:
    letters = cli.json("dead-letters", "list", "--workflow", "ordering", "--kind", "run")
    assert {letter["run_id"] for letter in letters} == set(odd_runs)
    assert sum(group["count"] for group in cli.json("dead-letters", "groups", "--workflow", "ordering")) == 6
    odd = next(letter for letter in letters if letter["run_id"] == "odd-0")
    printed = cli("dead-letters", "show", str(odd["id"]))
    assert printed.returncode == 0, printed.stderr
    assert "x' OR '1'='1" in printed.stdout
    assert cli("dead-letters", "discard", str(odd["id"]), "--reason", "").returncode == 2
    done = cli.json(
        "dead-letters", "discard", str(odd["id"]), "--reason", '=1+1; it\'s "over"', "--by", "Ada"
    )
    assert done["status"] == "abandoned"
    assert cli("dead-letters", "redrive", str(odd["id"])).returncode == 2
    assert cli("dead-letters", "show", "999999").returncode == 3
    assert cli("dead-letters", "redrive").returncode == 2
    again = cli.json("dead-letters", "redrive", str(letters[0]["id"]), "--input", '"coffee"')
    [first] = again["letters"]
    assert first["status"] == "retrying"
    assert first["redriven_as"]
    other = next(letter for letter in letters[1:] if letter["id"] != odd["id"])
    named = ["999999", str(other["id"]), str(odd["id"])]
    some = cli("dead-letters", "redrive", *named, "--json")
    told = json.loads(some.stdout)
    assert (some.returncode, [one["id"] for one in told["letters"]]) == (1, [other["id"]])
    assert (told["matched"], told["done"], told["failed"]) == (3, 1, 2)
    assert [problem.split()[0] for problem in told["problems"]] == ["999999:", f"{odd['id']}:"]
    assert "999999: " in some.stderr
    rest = cli.json("dead-letters", "redrive", "--workflow", "ordering", "--kind", "run")
    assert rest.keys() == told.keys() == again.keys()
    assert len(rest["letters"]) == rest["done"] == 3
    [action] = cli.json("runs", "actions", "odd-0", "--by", "Ada")
    assert (action["what"], action["why"]) == ("discard", '=1+1; it\'s "over"')
    assert "over" in cli("runs", "actions", "odd-0").stdout
    assert cli.json("runs", "actions", "odd-0", "--by", "Eve") == []
    assert cli.json("runs", "actions", "odd-gone") == []
    unknown = cli("runs", "actions", "never-started")
    assert (unknown.returncode, "never-started" in unknown.stderr) == (3, True)


def test_a_bulk_is_looked_at_before_it_is_done(cli: Cli, cli_home: Path) -> None:
    async def make(client: Client) -> None:
        for number in range(3):
            await client.start(holding, id=f"held-{number}")

    in_home(cli_home, make)
    found = cli.json("runs", "list", "--workflow", "holding", "--open")
    assert {run["source"] for run in found} == {"temporal"}
    asked = {option: cli.json("runs", "list", "--workflow", "holding", *option) for option in (
        ("--open", "--since", "1d"), ("--state", "running"), ("--state", "pending", "--state", "waiting"))}  # fmt: skip
    first, running, others = asked.values()
    assert [run["id"] for run in first] == ["held-2", "held-1", "held-0"]
    # One meaning of a state, whatever else is asked for: no worker has them, so none runs.
    assert (running, others) == ([], first)
    assert cli.json("runs", "list", "--workflow", "holding", "--state", "running", "--since", "1d") == []
    assert {run["id"] for run in found} == {run["id"] for run in first}
    assert len({tuple(sorted(run)) for run in [*found, *first]}) == 1
    counted = cli.json("runs", "facets", "workflow", "--open", "--workflow", "holding")
    assert [(facet["value"], facet["count"]) for facet in counted] == [("holding", 3)]
    assert cli.json("runs", "bulk", "cancel", "--workflow", "holding", "--open", "--dry-run")["matched"] == 3
    chosen = ("--workflow", "holding", "--text", "held-")
    assert cli("runs", "bulk", "terminate", "--yes").returncode == 2  # it would be all runs
    assert cli("runs", "bulk").returncode == 2
    unasked = cli("runs", "bulk", "terminate", *chosen)
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    preview = cli.json("runs", "bulk", "terminate", *chosen, "--dry-run")
    assert (preview["matched"], preview["done"]) == (3, 0)
    assert cli("runs", "bulk", "terminate", *chosen, "--yes", "--max-runs", "2").returncode == 2
    done = cli.json("runs", "bulk", "terminate", *chosen, "--yes", "--reason", "over")
    assert (done["done"], done["failed"], done["finished"]) == (3, 0, True)
    assert cli("runs", "bulk", "--resume", "999999").returncode == 3


def test_a_bulk_that_was_killed_is_continued(cli: Cli, cli_home: Path) -> None:
    async def make(client: Client) -> None:
        for first in range(0, 200, 50):
            names = [f"many-{number}" for number in range(first, first + 50)]
            await asyncio.gather(*(client.start(holding, id=name) for name in names))

    in_home(cli_home, make)
    chosen = ("--workflow", "holding", "--text", "many-", "--reason", "killed")

    def noted() -> dict[str, Any] | None:
        found = [
            action
            for action in cli.json("runs", "actions", "--what", "bulk terminate")
            if action["why"] == "killed"
        ]
        return found[0] if found else None

    with cli.background("runs", "bulk", "terminate", *chosen, "--yes", "--concurrency", "1") as running:
        end = time.monotonic() + 60
        while (action := noted()) is None or action["count"] < 100:
            assert time.monotonic() < end, running.output
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(30)
    action = noted()
    assert action is not None
    assert action["result"].startswith("not finished"), "it was killed too late to tell anything"
    done = cli("runs", "bulk", "--resume", str(action["id"]), "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (report["finished"], report["failed"]) == (True, 0)
    assert report["done"] + report["skipped"] == 200
    recorded = cli.json("runs", "actions", "--what", "terminate", "--limit", "1000")
    done_to = [one["run_id"] for one in recorded if one["result"] == "done" and one["why"] == "killed"]
    assert len(done_to) == len(set(done_to))
