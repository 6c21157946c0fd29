"""What an indexer costs beside an engine at full speed, and how far it is behind at the end.

    python -m benchmarks.indexer [--rounds 6] [--runs 300]

One embedded server, one worker. In turn a flight of runs with the home's own indexer at work (as the supervisor starts
it) and one with that process stopped; each pair gives a ratio. What the indexer has missed it catches up before the
next round. On a machine that has other work the CPU time says more: that of the indexer, and what it makes the server
do, beside that of server and worker without it. The lag is the time from the end of a flight to the row of its last
run.
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
from dataclasses import dataclass
from pathlib import Path

from benchmarks.holdfast_side import holdfast_side
from benchmarks.measure import flight
from benchmarks.side import Side
from holdfast import Client
from holdfast.engine.embedded import read_info, stop

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
    """Of a process with all its threads. Linux only."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Flight:
    """What a flight took, a run."""

    seconds: float
    lag: float
    engine_cpu: float
    """Of the server and this process, the worker."""

    indexer_cpu: float
    """Until the last run of the flight was stored."""


class _Bench:
    def __init__(self, home: Path, side: Side, runs: int) -> None:
        self.home, self.side, self.runs = home, side, runs
        self.stored = 0
        self.indexer = 0
        info = read_info(home)
        assert info is not None
        self.server = info.server_pid

    async def warm_up(self) -> float:
        """Wait for the indexer, fly once; returns the CPU seconds that it takes a second when nothing happens."""
        deadline = time.monotonic() + _UP_SECONDS
        while not self.indexer and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            self.indexer = _indexer(self.home)
        await self.fly(indexed=True)
        await asyncio.sleep(5)
        before = _cpu_seconds(self.indexer)
        await asyncio.sleep(10)
        return (_cpu_seconds(self.indexer) - before) / 10

    async def fly(self, *, indexed: bool) -> Flight:
        """A flight of runs; what the indexer has missed it stores before this returns."""
        if not indexed:
            os.kill(self.indexer, signal.SIGSTOP)
        engine, own = self._engine(), _cpu_seconds(self.indexer)
        try:
            seconds = await flight(self.side, runs=self.runs)
            engine_after = self._engine()
        finally:
            if not indexed:
                os.kill(self.indexer, signal.SIGCONT)
        self.stored += self.runs
        lag = await _until_stored(self.home, self.stored)
        flown = Flight(
            seconds=seconds,
            lag=lag,
            engine_cpu=(engine_after - engine) / self.runs,
            indexer_cpu=(_cpu_seconds(self.indexer) - own) / self.runs,
        )
        await asyncio.sleep(1)
        return flown

    def _engine(self) -> float:
        return _cpu_seconds(self.server) + time.process_time()


async def _measure(home: Path, side: Side, rounds: int, runs: int) -> None:
    bench = _Bench(home, side, runs)
    idle = await bench.warm_up()
    print(f"  idle: {1000 * idle:.1f} ms of CPU a second", flush=True)
    ratios: list[float] = []
    shares: list[float] = []
    lags: list[float] = []
    for number in range(rounds):
        flown = {on: await bench.fly(indexed=on) for on in ((True, False) if number % 2 else (False, True))}
        on, off = flown[True], flown[False]
        ratios.append(off.seconds / on.seconds)
        shares.append((on.engine_cpu + on.indexer_cpu) / off.engine_cpu - 1)
        lags.append(on.lag)
        print(
            f"  {1 / on.seconds:.1f} runs/s with, {1 / off.seconds:.1f} without: ratio {ratios[-1]:.3f}; "
            f"lag {on.lag:.2f} s; CPU a run: engine {1000 * on.engine_cpu:.1f} ms with, "
            f"{1000 * off.engine_cpu:.1f} without, indexer {1000 * on.indexer_cpu:.1f}",
            flush=True,
        )
    first, middle, third = statistics.quantiles(ratios, n=4, method="inclusive")
    print(f"runs/s with the indexer / without: {middle:.3f} ({first:.3f} to {third:.3f}); wanted: over 0.90")
    print(
        f"CPU that it adds: {100 * statistics.median(shares):.1f} % of the engine's; it has the lowest priority"
    )
    print(
        f"lag at the end of a flight: median {statistics.median(lags):.2f} s, worst {max(lags):.2f} s; wanted: under 2"
    )


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
