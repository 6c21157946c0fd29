"""The graphs as DAGs of Holdfast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from benchmarks.dag_graphs import Plan
from benchmarks.ledger import append
from holdfast import Step, step
from holdfast.authoring.dag import Dag


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
    """Append the item to the ledger."""
    append(item)
    return item


def increments(plan: Plan) -> Dag:
    """Each node adds one to the value of its only source, or to 0."""
    return _dag(plan, dag_increment, lambda node: {"value": (_outputs(plan, node) or [0])[0]})


def additions(plan: Plan) -> Dag:
    """Each node adds one to the sum of its sources."""
    return _dag(plan, dag_add, lambda node: {"terms": _outputs(plan, node)})


def naps(plan: Plan, *, max_parallel: int = 500) -> Dag:
    """Each node sleeps as long as the plan says."""
    return _dag(plan, dag_nap, lambda node: {"seconds": plan.seconds[node]}, max_parallel=max_parallel)


def notes() -> Dag:
    """A map of local steps over a count, the run's input."""
    dag = Dag("bench.map", output="size(all)", max_parallel=500)
    dag.add_map(dag_note, id="all", over="input", concurrency=500)
    return dag


def _outputs(plan: Plan, node: str) -> list[Any]:
    return [f"{{{{ {source} }}}}" for source in plan.sources[node]]


def _dag(
    plan: Plan,
    step: Step[..., Any],
    arguments: Callable[[str], dict[str, Any]],
    *,
    max_parallel: int = 500,
) -> Dag:
    dag = Dag("bench.dag", max_parallel=max_parallel)
    for node, sources in plan.sources.items():
        dag.add_step(step, id=node, arguments=arguments(node), depends_on=list(sources))
    return dag
