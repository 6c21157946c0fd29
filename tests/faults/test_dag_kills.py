"""Workers with DAGs and large maps are killed at random moments: nothing is lost, nothing complete is done again."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from holdfast import Client
from holdfast.authoring.dag import Dag

from .conftest import THOROUGH, Scene, chance
from .dag_flows import SERVED, double, double_locally, random_plan, sums
from .dag_history import acknowledged, begun_again, executions, until_ended

NODES = 200
ITEMS = 6_000 if THOROUGH else 1_500


@pytest.mark.parametrize("round", range(10 if THOROUGH else 1))
async def test_killed_dags_give_what_unkilled_ones_give(scene: Scene, client: Client, round: int) -> None:
    dice, ledger = chance(), scene.ledger
    plans = [random_plan(NODES, dice), random_plan(NODES, dice)]
    moments = sorted(dice.sample(range(2 * NODES - 40), dice.randint(1, 2)))
    host = await scene.host(served=SERVED)
    runs = [
        await client.start(
            sums("random", plan, {node: dice.choice([0, 0, 0.02, 0.1, 0.4]) for node in plan.terms})
        )
        for plan in plans
    ]
    for moment in moments:
        await until_ended(ledger, moment)
        await asyncio.sleep(dice.uniform(0, 0.1))
        host.kill()
        host = await scene.host(served=SERVED)
    for run, plan in zip(runs, plans, strict=True):
        assert await run.result() == plan.results[f"n{NODES - 1}"]
        state = await run.state()
        assert {node["state"] for node in state["nodes"].values()} == {"completed"}
        [events] = await executions(client, run.id)
        complete, starts = acknowledged(events), ledger.starts(run=run.id)
        assert complete.keys() == {entry.label for entry in starts} == plan.terms.keys()
        assert begun_again(starts, complete) == []
    again = len(ledger.starts()) - 2 * NODES
    print(f"killed at {moments} of {2 * NODES} nodes; {again} open ones began again")


async def test_a_killed_map_does_every_item_and_keeps_their_order(scene: Scene, client: Client) -> None:
    dice, ledger = chance(), scene.ledger
    plain, local = Dag("plain_map"), Dag("local_map")
    plain.add_map(double, id="all", over="input", concurrency=100, arguments={"item": "{{ item }}"})
    local.add_map(double_locally, id="all", over="input", arguments={"item": "{{ item }}"})
    items = dice.sample(range(10 * ITEMS), ITEMS)
    host = await scene.host(served=SERVED)
    runs = [await client.start(plain, items)]
    moments = [dice.randrange(ITEMS // 10, ITEMS // 2) for _ in range(2)]
    await until_ended(ledger, moments[0], step=double.name)
    runs.append(await client.start(local, items))
    await until_ended(ledger, moments[1], step=double_locally.name)
    host.kill()
    await scene.host(served=SERVED)
    for run in runs:
        assert await run.result() == [2 * item for item in items]
    plain_starts, local_starts = ledger.starts(step=double.name), ledger.starts(step=double_locally.name)
    label_of = {f"all[{index}]": str(item) for index, item in enumerate(items)}
    for part in {entry.run for entry in plain_starts}:
        [events] = await executions(client, part)
        assert len(events) < 2_000
        complete = {label_of[call]: attempt for call, attempt in acknowledged(events).items()}
        assert begun_again([entry for entry in plain_starts if entry.run == part], complete) == []
    for starts in (plain_starts, local_starts):
        times = Counter(int(entry.label) for entry in starts)
        assert times.keys() == set(items)
        print(f"{sum(count > 1 for count in times.values())} of {ITEMS} {starts[0].step} began again")
