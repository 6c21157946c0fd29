"""`python -m benchmarks.dag`: DAGs beside the same graphs written by hand, their makespan, large maps and queries.

Part of `make bench`. Takes about eight minutes; alone, it writes `benchmarks/results/dag.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import dag_makespan, dag_maps
from benchmarks.dag_graphs import chain_of, fan_of, random_plan
from benchmarks.dag_ours import additions, increments
from benchmarks.dag_raw import RawGraph, RawRun, raw_dags
from benchmarks.measure import Pair, Row
from benchmarks.raw_flows import RawChain, RawFan
from benchmarks.report import Verdict, at_least, print_verdicts, section, write
from holdfast import Client, Worker
from holdfast.authoring.dag import Dag
from holdfast.engine.embedded import stop

QUEUE = "bench-dag"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was found about DAGs."""

    rows: list[Row]
    verdicts: list[Verdict]


async def measured(client: Client, home: Path, rounds: int, *, quick: bool = False) -> Measured:
    """Measure everything about DAGs.

    Args:
        client: Of the server that both peers use.
        home: Where it lies, for worker processes.
        rounds: Paired rounds of each figure.
        quick: Smaller graphs and maps, for a look.
    """
    async with raw_dags(client.address) as raw, Worker(client, [], queues=[QUEUE]):
        rows = await section("DAGs, against the same graph by hand on raw", _pairs(client, raw), rounds)
    verdicts = [at_least(f"dag / raw by hand, {row.name}", row.ratio, 0.80) for row in rows]
    verdicts += await dag_makespan.verdicts(client, quick=quick)
    verdicts += await dag_maps.verdicts(client, home, quick=quick)
    return Measured(rows=rows, verdicts=verdicts)


def _pairs(client: Client, raw: RawRun) -> list[Pair]:
    plan = random_plan(300, seed=1)

    def pair(name: str, ours: Dag, flow: Any, argument: Any) -> Pair:
        return Pair(
            name=name,
            ours=lambda: _seconds(client.run(ours, None, queue=QUEUE)),
            theirs=lambda: _seconds(raw(flow, argument)),
        )

    return [
        pair("chain of 50 nodes", increments(chain_of(50)), RawChain, 50),
        pair("fan-out of 200 nodes", increments(fan_of(200)), RawFan, 200),
        pair("random DAG of 300 nodes", additions(plan), RawGraph, plan.sources),
    ]


async def _seconds(work: Awaitable[Any]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


async def _main(rounds: int, *, quick: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            async with Client.embedded(home) as client:
                found = await measured(client, home, rounds, quick=quick)
        finally:
            await stop(home)
    print_verdicts(found.verdicts)
    if not quick:
        write("dag", {"dag": found.rows}, found.verdicts, rounds)
    return 0


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dag", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds of each figure (default 9)")
    parser.add_argument("--quick", action="store_true", help="two rounds and small graphs, for a look")
    options = parser.parse_args()
    rounds = 2 if options.quick else max(2, options.rounds)
    sys.exit(asyncio.run(_main(rounds, quick=options.quick)))


if __name__ == "__main__":
    main()
