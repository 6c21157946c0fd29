"""What an indexer costs beside an engine at full speed, and how far it is behind at the end.

    python -m benchmarks.indexer [--rounds 6] [--runs 300]

One embedded server, one worker. In turn a flight of runs with the home's own indexer at work (as the supervisor starts
it) and one with that process stopped; each pair gives a ratio. What the indexer has missed it catches up before the next
round. The lag is the time from the end of a flight to the row of its last run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.holdfast_side import holdfast_side
from benchmarks.measure import flight
from benchmarks.side import Side
from holdfast import Client
from holdfast.engine.embedded import stop

_UP_SECONDS = 60.0


def _indexer(home: Path) -> int:
    found = subprocess.run(
        ["pgrep", "-f", f"holdfast.indexer --home {home}"], capture_output=True, text=True, check=False
    )
    return int(found.stdout.split()[0]) if found.stdout else 0


def _stored_count(home: Path) -> int:
    with closing(sqlite3.connect(home / "history.db")) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM runs WHERE closed IS NOT NULL").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


async def _until_stored(home: Path, count: int) -> float:
    """How many seconds that takes."""
    begin = time.perf_counter()
    while _stored_count(home) < count:
        if time.perf_counter() - begin > _UP_SECONDS:
            raise TimeoutError(f"{_stored_count(home)} of {count} runs are stored")
        await asyncio.sleep(0.02)
    return time.perf_counter() - begin


def _cpu_seconds(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


async def _measure(home: Path, side: Side, rounds: int, runs: int) -> None:
    count = 0
    ratios: list[float] = []
    lags: list[float] = []
    cpu: list[float] = []
    pid = 0
    deadline = time.monotonic() + _UP_SECONDS
    while not pid and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        pid = _indexer(home)
    await flight(side, runs=50)
    count += 50
    await _until_stored(home, count)
    for number in range(rounds):
        seconds = {}
        for on in (True, False) if number % 2 == 0 else (False, True):
            if not on:
                os.kill(pid, signal.SIGSTOP)
            spent = _cpu_seconds(pid)
            seconds[on] = await flight(side, runs=runs)
            count += runs
            if on:
                cpu.append((_cpu_seconds(pid) - spent) / runs)
            else:
                os.kill(pid, signal.SIGCONT)
            lag = await _until_stored(home, count)
            if on:
                lags.append(lag)
            await asyncio.sleep(0.5)
        ratios.append(seconds[False] / seconds[True])
        print(
            f"  {1 / seconds[True]:.1f} runs/s with, {1 / seconds[False]:.1f} without: ratio {ratios[-1]:.3f}, "
            f"lag {lags[-1]:.2f} s, indexer {1000 * cpu[-1]:.1f} ms of CPU a run",
            flush=True,
        )
    first, middle, third = statistics.quantiles(ratios, n=4, method="inclusive")
    print(f"runs/s with the indexer / without: {middle:.3f} ({first:.3f} to {third:.3f}); wanted: over 0.90")
    print(f"lag at the end of a flight: median {statistics.median(lags):.2f} s, worst {max(lags):.2f} s; wanted: under 2")


async def _main(rounds: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            async with Client.embedded(home) as client, holdfast_side(client) as side:
                await _measure(home, side, rounds, runs)
        finally:
            await stop(home)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.indexer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="pairs of flights (default 6)")
    parser.add_argument("--runs", type=int, default=300, help="runs of a flight (default 300)")
    options = parser.parse_args()
    asyncio.run(_main(max(2, options.rounds), options.runs))


if __name__ == "__main__":
    main()
