"""The steps that the DAGs of these tests are made of, and the DAGs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from holdfast import Permanent, RetryPolicy, step
from holdfast.authoring.dag import Dag

from .ledger import recorded

SERVED = ["tests.faults.dag_flows"]
"""What a worker process of these tests serves."""

QUICK = RetryPolicy(max_attempts=10, first_delay=timedelta(milliseconds=100), max_delay=timedelta(seconds=1))
BRIEF = timedelta(seconds=4)


def added(terms: Sequence[int]) -> int:
    """One more than the terms together; bounded, as sums of sums grow fast."""
    return (1 + sum(terms)) % 1_000_003


@step(name="faults.dag_sum", heartbeat=BRIEF, retry=QUICK)
async def total(name: str, terms: list[int], seconds: float = 0.0) -> int:
    with recorded(name):
        await asyncio.sleep(seconds)
    return added(terms)


@step(name="faults.dag_double", heartbeat=BRIEF, retry=QUICK)
async def double(item: int) -> int:
    """Once per item."""
    with recorded(str(item)):
        await asyncio.sleep(0.001)
    return 2 * item


@step(name="faults.dag_double_locally", local=True)
async def double_locally(item: int) -> int:
    """Once per item, inside the workflow task."""
    with recorded(str(item)):
        return 2 * item


@step(name="faults.dag_book", heartbeat=BRIEF, retry=QUICK)
async def book(name: str, seconds: float = 0.0) -> str:
    """Has a compensation."""
    with recorded(name):
        await asyncio.sleep(seconds)
    return f"{name} booked"


@book.compensate
async def unbook(name: str, seconds: float, booking: str | None) -> None:
    with recorded(name):
        assert booking in (None, f"{name} booked")


@step(name="faults.dag_refuse", retry="none")
async def refuse(name: str) -> None:
    """Fails for good."""
    with recorded(name):
        raise Permanent(f"{name} refused")


class Plan(NamedTuple):
    """A graph, and what the nodes of its DAG give."""

    terms: Mapping[str, Sequence[str]]
    """What each node adds up, every node after its terms."""

    @property
    def results(self) -> dict[str, int]:
        """What every node gives."""
        found: dict[str, int] = {}
        for name, terms in self.terms.items():
            found[name] = added([found[term] for term in terms])
        return found


def random_plan(count: int, chance: random.Random) -> Plan:
    """Each node adds up at most three of the sixty before it; one in eight waits for none."""
    terms: dict[str, Sequence[str]] = {}
    for index in range(count):
        before = range(max(0, index - 60), index)
        taken = 0 if chance.random() < 1 / 8 else chance.randint(1, 3)
        terms[f"n{index}"] = sorted(f"n{one}" for one in chance.sample(before, min(taken, len(before))))
    return Plan(terms)


def sums(name: str, plan: Plan, seconds: Mapping[str, float] | None = None) -> Dag:
    """The DAG of a plan, whose result is that of the last node."""
    dag = Dag(name, output=list(plan.terms)[-1])
    for node, terms in plan.terms.items():
        arguments = {"name": node, "terms": [f"{{{{ {term} }}}}" for term in terms]}
        dag.add_step(total, id=node, arguments={**arguments, "seconds": (seconds or {}).get(node, 0.0)})
    return dag
