"""`make bench`: prints a table of ratios and writes `benchmarks/results/latest.json`."""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import dag, measure, processes
from benchmarks.holdfast_side import holdfast_side
from benchmarks.measure import Pair, Row
from benchmarks.raw_side import raw_side
from benchmarks.report import Verdict, at_least, at_most, print_verdicts, section, write
from benchmarks.side import Side
from benchmarks.stock import stock_server
from holdfast import Client
from holdfast.engine.embedded import stop


async def _main(rounds: int, *, quick: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            async with Client.embedded(home) as client:
                async with raw_side(client.address) as raw, holdfast_side(client) as ours:
                    plain = await section("plain steps, against raw", _plain(ours, raw), rounds)
                    local = await section("local steps, against raw-local", _local(ours, raw), rounds)
                    gain = await section("local steps, against raw plain", _gain(ours, raw), rounds)
                    wide = await section(
                        "imports 30 models and 50 steps, against one function", _wide(ours), rounds
                    )
                tuned = await _servers(client.address, rounds)
                memory = await _memory(client.address, home, rounds=1 if quick else 5)
                dags = await dag.measured(client, home, rounds, quick=quick)
            imports = _imports(3 if quick else rounds)
            first = processes.first_result_seconds(1 if quick else 3)
        finally:
            await stop(home)
    verdicts = _verdicts(plain, gain, wide, tuned, memory, imports, first)
    verdicts += dags.verdicts
    print_verdicts(verdicts)
    sections = {"plain": plain, "local": local, "gain": gain, "wide": wide, "server": tuned, "dag": dags.rows}
    write("latest", sections, verdicts, rounds)
    return 0


async def _servers(address: str, rounds: int) -> list[Row]:
    # Without eager starts, which would hide half of what the server takes.
    async with (
        stock_server() as stock_address,
        raw_side(address, eager=False) as ours,
        raw_side(stock_address, eager=False) as stock,
    ):
        return await section("embedded server, against stock on a file", _stock(ours, stock), rounds)


def _plain(ours: Side, raw: Side) -> list[Pair]:
    return [
        _both("one step, p50", measure.one_step, ours, raw),
        _both("one step, p95", measure.one_step, ours, raw, q=0.95),
        _both("chain of 50 steps", measure.once, ours, raw, kind="chain", count=50),
        _both("fan-out of 200 steps", measure.once, ours, raw, kind="fan", count=200),
        _both("one run, 50 in flight", measure.flight, ours, raw),
    ]


def _local(ours: Side, raw: Side) -> list[Pair]:
    return [
        _both("one local step, p50", measure.one_step, ours, raw, kind="local_chain"),
        _both("one local step, p95", measure.one_step, ours, raw, kind="local_chain", q=0.95),
        _both("chain of 50 local steps", measure.once, ours, raw, kind="local_chain", count=50),
        _both("fan-out of 200 local steps", measure.once, ours, raw, kind="local_fan", count=200),
    ]


def _gain(ours: Side, raw: Side) -> list[Pair]:
    return [
        Pair(
            name="chain of 50",
            ours=lambda: measure.once(ours, "local_chain", 50),
            theirs=lambda: measure.once(raw, "chain", 50),
        ),
        Pair(
            name="fan-out of 200",
            ours=lambda: measure.once(ours, "local_fan", 200),
            theirs=lambda: measure.once(raw, "fan", 200),
        ),
    ]


def _wide(ours: Side) -> list[Pair]:
    return [
        Pair(
            name="one run, 50 in flight",
            ours=lambda: measure.flight(ours, "wide"),
            theirs=lambda: measure.flight(ours, "narrow"),
        )
    ]


def _stock(raw: Side, stock: Side) -> list[Pair]:
    return [
        _both("raw one step, p50", measure.one_step, raw, stock, count=10),
        _both("raw chain of 50 steps", measure.once, raw, stock, kind="chain", count=50),
    ]


def _both(name: str, figure: Any, ours: Side, theirs: Side, **options: Any) -> Pair:
    return Pair(name=name, ours=lambda: figure(ours, **options), theirs=lambda: figure(theirs, **options))


async def _memory(address: str, home: Path, *, rounds: int) -> float:
    print("\nmemory of a worker process after 100 runs", flush=True)
    ratios: list[float] = []
    for _ in range(rounds):
        raw = await asyncio.to_thread(processes.raw_memory_kib, address)
        ours = await asyncio.to_thread(processes.memory_kib, home)
        ratios.append(ours / raw)
        print(f"  ours {ours / 1024:.0f} MiB, raw {raw / 1024:.0f} MiB, ratio {ours / raw:.2f}", flush=True)
    return statistics.median(ratios)


def _imports(rounds: int) -> float:
    ratios = [
        processes.import_seconds("holdfast") / processes.import_seconds("temporalio.worker")
        for _ in range(rounds)
    ]
    return statistics.median(ratios)


def _verdicts(
    plain: list[Row],
    gain: list[Row],
    wide: list[Row],
    tuned: list[Row],
    memory: float,
    imports: float,
    first: float,
) -> list[Verdict]:
    mean = math.exp(statistics.fmean(math.log(row.ratio) for row in plain))
    worst = min(row.ratio for row in plain)

    return [
        at_least("plain steps / raw, geometric mean", mean, 0.90),
        at_least("plain steps / raw, worst row", worst, 0.80),
        at_least("wide module / one-function module", wide[0].ratio, 0.90),
        at_least("local chain / raw plain chain", gain[0].ratio, 5),
        at_least("local fan-out / raw plain fan-out", gain[1].ratio, 3),
        at_least("embedded / stock server, one step p50", tuned[0].ratio, 2),
        at_least("embedded / stock server, chain", tuned[1].ratio, 3),
        at_most("worker memory / raw", memory, 1.2),
        at_most("import holdfast / import temporalio.worker", imports, 1.3),
        at_most("embedded start to first result, seconds", first, 2.5),
    ]


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds of each figure (default 9)")
    parser.add_argument("--quick", action="store_true", help="fewer processes, for a look")
    options = parser.parse_args()
    sys.exit(asyncio.run(_main(max(2, options.rounds), quick=options.quick)))


if __name__ == "__main__":
    main()
