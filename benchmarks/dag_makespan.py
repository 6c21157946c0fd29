"""How close DAGs of sleeping steps come to the time below which no schedule can end them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.dag_graphs import Plan, random_plan, wide_plan
from benchmarks.dag_ours import naps
from benchmarks.report import Verdict, at_most
from holdfast import Client, Worker

QUEUE = "bench-naps"
_FREE = 500


@dataclass(frozen=True, kw_only=True)
class Case:
    """One graph on so many slots."""

    name: str
    plan: Plan
    slots: int

    @property
    def most(self) -> float:
        """The largest makespan, as a multiple of the bound."""
        return 1.05 if self.slots == _FREE else 1.15


def _free(name: str, plan: Plan) -> Case:
    return Case(name=f"{name}, free slots", plan=plan, slots=_FREE)


def _random(count: int, slots: int) -> list[Case]:
    return [
        _free(f"random {count}", random_plan(count, seed=0, least=0.1, most=5)),
        Case(
            name=f"random {count}, {slots} slots",
            plan=random_plan(count, seed=0, least=1, most=5),
            slots=slots,
        ),
    ]


def _groups() -> list[list[Case]]:
    """Those of one group run at the same time: small ones sleep nearly always, and leave the machine to others."""
    free = wide_plan(20, dict.fromkeys((0, 4, 8, 12), 300), seed=3, least=0.1, most=5)
    contended = wide_plan(8, dict.fromkeys((0, 2, 4, 6), 300), seed=3, least=1, most=5)
    return [
        [*_random(30, 3), *_random(100, 8)],
        _random(300, 20),
        [_free(f"{len(free.sources)} nodes, fans of 300", free)],
        [Case(name=f"{len(contended.sources)} nodes, fans of 300, 100 slots", plan=contended, slots=100)],
    ]


async def verdicts(client: Client, *, quick: bool) -> list[Verdict]:
    """Run all graphs and print bound, makespan and ratio of each.

    Args:
        client: A connected client.
        quick: Only the two smallest.
    """
    print(f"\nmakespan of sleeping steps\n  {'':<40}{'bound':>9}{'ours':>9}{'ratio':>8}", flush=True)
    found: list[Verdict] = []
    async with Worker(client, [], queues=[QUEUE], max_steps=_FREE):
        for group in [_random(30, 3)] if quick else _groups():
            found += await _together(client, group)
    return found


async def _together(client: Client, group: Sequence[Case]) -> list[Verdict]:
    taken = await asyncio.gather(*(_makespan(client, case) for case in group))
    found: list[Verdict] = []
    for case, seconds in zip(group, taken, strict=True):
        bound = case.plan.bound(case.slots)
        print(f"  {case.name:<40}{bound:>8.2f}s{seconds:>8.2f}s{seconds / bound:>8.3f}", flush=True)
        found.append(at_most(f"makespan / bound, {case.name}", seconds / bound, case.most))
    return found


async def _makespan(client: Client, case: Case) -> float:
    spec = naps(case.plan, max_parallel=case.slots)
    begin = time.perf_counter()
    await client.run(spec, None, queue=QUEUE)
    return time.perf_counter() - begin
