"""Each example is whole, small, and does what it says."""

from __future__ import annotations

import ast
import calendar
import csv
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

RunScript = Callable[..., "subprocess.CompletedProcess[str]"]
EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_has_at_most_80_lines_and_says_what_it_shows(script: Path) -> None:
    text = script.read_text("utf-8")
    assert len(text.splitlines()) <= 80
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("hello", ["Hello, world!"]),
        ("orders", ["A-1 is on its way", "card 0002 was declined"]),
        (
            "approval",
            [
                "asks: Publish 'On weather'?",
                "'On weather' is published",
                "Ada refused 'On umbrellas': too dry",
            ],
        ),
        ("children", ["de: guten Morgen", "de: guten people"]),
        ("rainy_days", ["take an umbrella: 177 rainy days in 2012", "✓ rainy"]),
        ("dependencies", ["10 x umbrella left", "2 x raincoat left"]),
        ("plugin", ["umbrella, since rain in Seattle", "Ada lives in Seattle: rain in Seattle"]),
    ],
)
def test_an_example_runs(name: str, printed: list[str], run_script: RunScript) -> None:
    done = run_script(EXAMPLES / f"{name}.py")
    assert done.returncode == 0, done.stderr
    for text in printed:
        assert text in done.stdout


def test_the_weather_report_prints_the_years_and_leaves_a_text_and_a_plot(
    run_script: RunScript, tmp_path: Path
) -> None:
    done = run_script(EXAMPLES / "weather.py")
    assert done.returncode == 0, done.stderr
    years = ["2012: 11.28 °C", "2013: 12.11 °C", "2014: 12.83 °C", "2015: 13.13 °C"]
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == years
    assert (tmp_path / "demo-output" / "weather.txt").read_text("utf-8") == done.stdout.strip()
    assert (tmp_path / "demo-output" / "weather.png").read_bytes().startswith(b"\x89PNG")


def test_the_briefing_asks_for_approval_and_says_what_the_weather_data_says(
    run_script: RunScript, tmp_path: Path
) -> None:
    done = run_script(EXAMPLES / "briefing.py")
    assert done.returncode == 0, done.stderr
    assert "waits for approval \"Publish 'December is Seattle's wettest month'?\"" in done.stdout
    assert "✓ write" in done.stdout
    with (EXAMPLES / "data" / "seattle-weather.csv").open(encoding="utf-8", newline="") as lines:
        wet = Counter(row["date"][5:7] for row in csv.DictReader(lines) if float(row["precipitation"]) > 0)
    table = [f"| {calendar.month_name[int(month)]} | {days} |" for month, days in sorted(wet.items())]
    written = (tmp_path / "demo-output" / "briefing.md").read_text("utf-8").splitlines()
    assert written[-12:] == table
    assert written[0] == "# December is Seattle's wettest month"
    assert f"It rained on {max(wet.values())} of its days" in written[2]
