"""`holdfast analytics`: what people see of figures, and exports to files and stdout."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from rich.console import Console
from tests.server.conftest import FLOWS, Cli, held

from holdfast.engine import embedded
from holdfast.store.figures import StepFigures
from holdfast_server.cli import figures
from holdfast_server.cli.bars import bar, shade, sparkline
from holdfast_server.cli.filters import moment


@pytest.fixture(scope="module")
def cli_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which nobody else runs anything."""
    folder = tmp_path_factory.mktemp("analytics") / ".holdfast"
    with held(folder):
        yield folder
    asyncio.run(embedded.stop(folder))


@pytest.fixture(scope="module")
def indexed(cli_home: Path) -> str:
    """A completed run and a failed one, in the history."""
    here = Cli(home=cli_home, folder=cli_home.parent)
    (here.folder / "flows.py").write_text(FLOWS, "utf-8")
    assert here("run", "flows.py:hello", "-i", '"Ada"').returncode == 0
    assert here("run", "flows.py:failing", "-i", '"=no way"', "--id", "analytics-failed").returncode == 1
    assert here("indexer", "--once").returncode == 0
    return "analytics-failed"


def shown(cli: Cli, *arguments: str) -> str:
    done = cli("analytics", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_table_says_what_it_is_about(cli: Cli, indexed: str) -> None:
    assert "completed" in shown(cli, "summary")
    assert datetime.now(UTC).strftime("%Y-%m-%d") in shown(cli, "trends", "--since", "1h")
    assert "Mon" in shown(cli, "trends", "--by", "heatmap")
    steps = shown(cli, "steps", "--workflow", "failing")
    assert "refuse" in steps
    assert "100.0 %" in steps
    assert "failing" in shown(cli, "by", "workflow")
    assert "default" in shown(cli, "by", "queue")
    assert "before" in shown(cli, "compare", "--since", "1h")


def test_json_is_what_the_client_tells(cli: Cli, indexed: str) -> None:
    told = cli.json("analytics", "summary", "--workflow", "failing", "--since", "1d", "--state", "failed")
    assert (told["total"], told["by_state"], told["success_rate"]) == (1, {"failed": 1}, 0.0)
    assert told["quantiles"] == "exact"
    (step,) = cli.json("analytics", "steps", "--workflow", "failing")
    assert step["failure_rate"] == 1.0
    assert sum(step["error_rates"].values()) == 1.0
    assert cli.json("analytics", "summary", "--text", "analytics-fail")["total"] == 1
    assert cli.json("analytics", "summary", "--until", "1d")["total"] == 0
    told = cli.json("analytics", "compare", "--since", "1h", "--workflow", "failing")
    assert (told["before"]["total"], told["after"]["total"]) == (0, 1)


def test_an_export_to_a_file_is_whole_and_harmless(cli: Cli, indexed: str) -> None:
    path = cli.folder / "runs.csv"
    done = cli("analytics", "export", "-o", str(path))
    assert done.returncode == 0, done.stderr
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert (
        rows[indexed]["error_message"].startswith("'=no way") or "=no way" in rows[indexed]["error_message"]
    )
    assert not any(value.startswith("=") for row in rows.values() for value in row.values())
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert [entry.name for entry in cli.folder.iterdir() if entry.name.endswith(".part")] == []


def test_an_export_goes_to_stdout_and_of_steps_too(cli: Cli, indexed: str) -> None:
    lines = shown(
        cli, "export", "--what", "steps", "--format", "ndjson", "--workflow", "failing"
    ).splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["refuse"]
    assert indexed in [run["id"] for run in cli.json("analytics", "export")]


def test_what_cannot_be_is_refused_and_leaves_the_file_alone(cli: Cli, indexed: str) -> None:
    path = cli.folder / "runs.xlsx"
    path.write_text("before")
    for wrong in (["export", "-o", str(path)], ["compare"], ["compare", "--against", "v1"],
                  ["summary", "--state", "finished"], ["summary", "--since", "yesterday"],
                  ["export", "-o", str(cli.folder / "no" / "runs.csv")]):  # fmt: skip
        done = cli("analytics", *wrong)
        assert done.returncode == 2, (wrong, done.stdout, done.stderr)
    assert path.read_text() == "before"


def test_nothing_is_said_to_be_nothing(cli: Cli, indexed: str) -> None:
    for name in ("summary", "trends", "steps", "by workflow"):
        done = cli("analytics", *name.split(), "--workflow", "nobody")
        assert (done.returncode, done.stdout) == (0, "")
        assert "no runs" in done.stderr or "no steps" in done.stderr


@pytest.mark.parametrize("width", [80, 120])
def test_tables_keep_to_the_width_and_show_names_as_text(width: int) -> None:
    step = StepFigures(
        workflow="[red]w\x1b[2J", step="a-step-with-a-name-of-some-length", count=1_234_567,
        by_state={"failed": 1}, failure_rate=0.5, errors={"Some.Very.Long.Name.Of.An.Error" * 2: 1},
        error_rates={"Some.Very.Long.Name.Of.An.Error" * 2: 0.00001}, attempts=2, attempts_mean=1.5, retried=1,
        mean_seconds=1.0, p50_seconds=100_000, p95_seconds=100_000, p99_seconds=0.001,
        queue_wait_p50_seconds=None, queue_wait_p95_seconds=None, tokens=1, cost_usd=1234.5, sampled=0.01,
        quantiles="sampled",
    )  # fmt: skip
    console = Console(width=width, file=io.StringIO(), record=True, markup=False)
    console.print(figures.of_steps([step, step], width))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "27 h 46 min" in text
    assert "<0.1 %" in text
    assert "sample" in text


def test_numbers_become_pictures() -> None:
    assert [bar(value, 8, 1) for value in (0, 0.001, 4, 8, 9)] == ["", "▏", "▌", "█", "█"]
    assert bar(1, 2, 4) == "██"
    assert sparkline([0, 1, 4, 8], 10) == " ▁▄█"
    assert sparkline([1, 1, 2, 2], 2) == "▄█"
    assert sparkline([], 5) == ""
    assert [shade(value, 4) for value in (0, 0.1, 1, 2, 3, 4)] == [" ", "░", "░", "▒", "▓", "█"]


def test_a_moment_is_an_age_or_a_time() -> None:
    assert abs(moment("7d") - (datetime.now(UTC) - timedelta(days=7))) < timedelta(minutes=1)
    assert moment("2026-11-01T12:00:00+02:00") == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert moment("2026-11-01").tzinfo is not None
    for wrong in ("yesterday", "", "999999999999d"):
        with pytest.raises(typer.BadParameter):
            moment(wrong)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
