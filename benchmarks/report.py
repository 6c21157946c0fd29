"""Tables, targets and the file of results."""

from __future__ import annotations

import json
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Pair, Row

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A figure beside what it must reach."""

    name: str
    value: float
    target: str
    reached: bool


def at_least(name: str, value: float, bound: float) -> Verdict:
    """More is better."""
    return Verdict(name=name, value=value, target=f">= {bound}", reached=value >= bound)


def at_most(name: str, value: float, bound: float) -> Verdict:
    """Less is better."""
    return Verdict(name=name, value=value, target=f"<= {bound}", reached=value <= bound)


async def section(title: str, pairs: Sequence[Pair], rounds: int) -> list[Row]:
    """Measure a table and print it."""
    print(f"\n{title}", flush=True)

    def report(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\r  round {done} of {rounds}", end="", file=sys.stderr, flush=True)

    rows = await measure.paired(pairs, rounds, report)
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    print(f"  {'':<34}{'ours':>10}{'theirs':>10}{'ratio':>8}   quartiles")
    for row in rows:
        low, high = row.quartiles()
        ours, theirs = 1000 * statistics.median(row.ours), 1000 * statistics.median(row.theirs)
        print(
            f"  {row.name:<34}{ours:>8.1f}ms{theirs:>8.1f}ms{row.ratio:>8.2f}   {low:.2f}-{high:.2f}",
            flush=True,
        )
    return rows


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print what must be reached, and whether it was."""
    print("\nwhat it must reach")
    for verdict in verdicts:
        print(
            f"  {'ok  ' if verdict.reached else 'MISS'} {verdict.name:<52} {verdict.value:8.2f}   {verdict.target}"
        )


def write(name: str, sections: Mapping[str, Sequence[Row]], verdicts: Sequence[Verdict], rounds: int) -> None:
    """Write `benchmarks/results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    content = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "rounds": rounds,
        "sections": {name: [row.to_dict() for row in rows] for name, rows in sections.items()},
        "targets": [
            {"name": v.name, "value": round(v.value, 3), "target": v.target, "reached": v.reached}
            for v in verdicts
        ],
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"\nwritten to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
