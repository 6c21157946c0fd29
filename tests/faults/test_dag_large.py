"""A DAG with more nodes than one history holds, none of them in a map, is killed on its way and runs to its end."""

from __future__ import annotations

import asyncio
import time
from itertools import chain
from random import Random

from holdfast import Client

from .conftest import THOROUGH, Scene, chance
from .dag_flows import SERVED, Plan, random_plan, sums
from .dag_history import acknowledged, begun_again, executions, until_ended

NODES, KILLS = (10_000, 3) if THOROUGH else (1_000, 1)
FAN_IN = 500
# Fewer nodes need a lower limit to continue as new.
EARLY = SERVED if THOROUGH else [*SERVED, "tests.faults.dag_early"]
EVENTS = 51_200
"""Temporal ends a run that has so many."""


def large_plan(dice: Random) -> Plan:
    """A random graph in whose middle and at whose end five hundred ways meet."""
    terms = dict(random_plan(NODES, dice).terms)
    for index in (NODES // 2, NODES - 1):
        terms[f"n{index}"] = sorted(f"n{one}" for one in dice.sample(range(index), FAN_IN))
    return Plan(terms)


async def test_a_large_dag_runs_to_its_end_over_several_executions(scene: Scene, client: Client) -> None:
    dice, ledger = chance(), scene.ledger
    plan = large_plan(dice)
    moments = sorted(dice.sample(range(NODES // 10, NODES - NODES // 10), KILLS))
    host = await scene.host(served=EARLY)
    began = time.monotonic()
    run = await client.start(sums("large", plan))
    for moment in moments:
        await until_ended(ledger, moment)
        await asyncio.sleep(dice.uniform(0, 0.1))
        host.kill()
        host = await scene.host(served=EARLY)
    assert await run.result() == plan.results[f"n{NODES - 1}"]
    seconds = time.monotonic() - began
    histories = await executions(client, run.id)
    lengths = [len(events) for events in histories]
    complete, starts = acknowledged(chain.from_iterable(histories)), ledger.starts()
    print(
        f"{NODES} nodes in {seconds:.0f} s, killed at {moments}; {len(lengths)} executions, the longest history "
        f"has {max(lengths)} events; {len(starts) - NODES} open nodes began again"
    )
    assert len(lengths) > 2
    assert max(lengths) < EVENTS
    assert complete.keys() == {entry.label for entry in starts} == plan.terms.keys()
    assert begun_again(starts, complete) == []
