"""`python -m benchmarks.executors_transform`: nodes of type `transform` a second, inside the run and as steps.

Each figure is the median of several runs of one DAG with 1,000 nodes on a file-backed server.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import Verdict, at_least, print_verdicts
from holdfast import Client, Worker
from holdfast.authoring.dag import Dag
from holdfast.engine.embedded import stop

QUEUE = "bench-transform"
INPUT = {"rows": [{"name": f"n{index}", "price": index} for index in range(10)]}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "template": {"template": {"to": "{{ input.rows[0].name }}", "count": "{{ size(input.rows) }}"}},
    "expression": {"expression": "input.rows.map(row, row.price * 2)", "data": "{{ input }}"},
    "mapping": {"mapping": {"a": "input.rows[0].name", "b": "size(input.rows)"}, "data": "{{ input }}"},
    "passthrough": {"passthrough": True, "data": "{{ input }}"},
}


def fan(config: Mapping[str, Any], count: int, *, local: bool) -> Dag:
    """Nodes that do not depend on each other."""
    dag = Dag("bench_transform_fan", output="true", max_parallel=500)
    for index in range(count):
        dag.node(f"n{index}", executor="transform", config=config, local=local)
    return dag


def chain(config: Mapping[str, Any], count: int, *, local: bool) -> Dag:
    """Nodes one after the other."""
    dag = Dag("bench_transform_chain", output="true")
    for index in range(count):
        before = [f"n{index - 1}"] if index else []
        dag.node(f"n{index}", executor="transform", config=config, local=local, depends_on=before)
    return dag


async def nodes_a_second(client: Client, name: str, dag: Dag, rounds: int, *, least: float = 0) -> Verdict:
    """The median over the rounds, after one that does not count."""
    rates: list[float] = []
    count = len(dag.compile().nodes)
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        assert await client.run(dag, INPUT, queue=QUEUE) is True
        rates.append(count / (time.perf_counter() - begin))
    rate = statistics.median(rates[1:])
    print(f"  {name:<30}{count:>6} nodes{rate:>8.0f} a second", flush=True)
    return at_least(f"transform nodes a second, {name}", rate, least)


async def measured(client: Client, rounds: int, count: int) -> list[Verdict]:
    """Measure all of them."""
    found: list[Verdict] = []
    async with Worker(client, [], queues=[QUEUE]):
        for name, config in CONFIGS.items():
            for shape in (fan, chain):
                dag = shape(config, count, local=True)
                label = f"{name}, local, {shape.__name__}"
                found.append(await nodes_a_second(client, label, dag, rounds, least=500))
        steps = fan(CONFIGS["template"], 200, local=False)
        found.append(await nodes_a_second(client, "template, as steps", steps, rounds))
        programs = fan({"jq": ".rows", "data": "{{ input }}"}, 50, local=False)
        found.append(await nodes_a_second(client, "jq, as steps", programs, rounds))
    return found


async def _main(rounds: int, count: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            async with Client.embedded(home) as client:
                verdicts = await measured(client, rounds, count)
        finally:
            await stop(home)
    print_verdicts(verdicts)
    return 0


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors_transform", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each DAG (default 3)")
    parser.add_argument("--count", type=int, default=1_000, help="nodes of a local DAG (default 1000)")
    options = parser.parse_args()
    sys.exit(asyncio.run(_main(options.rounds, options.count)))


if __name__ == "__main__":
    main()
