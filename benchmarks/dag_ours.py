"""The graphs as DAGs of Holdfast."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from benchmarks.dag_graphs import Plan
from holdfast import step
from holdfast.spec.document import load_value
from holdfast.spec.model import DagSpec

LEDGER = "BENCH_LEDGER"
"""The environment variable that names the file to which a map writes what it does."""


@step(name="bench.increment")
async def dag_increment(value: int) -> int:
    """One more."""
    return value + 1


@step(name="bench.add")
async def dag_add(terms: list[int]) -> int:
    """One more than all terms."""
    return 1 + sum(terms)


@step(name="bench.nap")
async def dag_nap(seconds: float) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)


@step(name="bench.note", local=True)
async def dag_note(item: int) -> int:
    """Append the item to the ledger, in one write, so that lines never mix."""
    fd = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"%d\n" % item)
    os.close(fd)
    return item


def increments(plan: Plan) -> DagSpec:
    """Each node adds one to the value of its only source, or to 0."""
    return _spec(plan, "bench.increment", lambda node, sources: {"value": sources[0] if sources else 0})


def additions(plan: Plan) -> DagSpec:
    """Each node adds one to the sum of its sources."""
    return _spec(plan, "bench.add", lambda node, sources: {"terms": sources})


def naps(plan: Plan, *, max_parallel: int = 500) -> DagSpec:
    """Each node sleeps as long as the plan says."""
    return _spec(
        plan, "bench.nap", lambda node, sources: {"seconds": plan.seconds[node]}, max_parallel=max_parallel
    )


def notes() -> DagSpec:
    """A map of local steps over a count, the run's input."""
    mapped = {"over": "input", "concurrency": 500}
    arguments = {"item": "{{ item }}"}
    node = {"id": "all", "type": "step", "config": {"step": "bench.note", "arguments": arguments}}
    return load_value(
        {
            "name": "bench.map",
            "nodes": [{**node, "map": mapped, "local": True}],
            "output": "size(all)",
            "options": {"max_parallel": 500},
        }
    )


def _spec(plan: Plan, step_name: str, arguments: Any, *, max_parallel: int = 500) -> DagSpec:
    nodes: list[dict[str, Any]] = []
    for node, sources in plan.sources.items():
        given = arguments(node, [f"{{{{ {source} }}}}" for source in sources])
        nodes.append(
            {
                "id": node,
                "type": "step",
                "config": {"step": step_name, "arguments": given},
                "depends_on": list(sources),
            }
        )
    return load_value({"name": "bench.dag", "nodes": nodes, "options": {"max_parallel": max_parallel}})
