"""`run.cost()`: what a run took, counted by hand."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from tests.engine.support import eventually

from holdfast import (
    Client,
    RetryPolicy,
    Run,
    Worker,
    continue_as_new,
    patched,
    step,
    step_info,
    wait_for,
    workflow,
)
from holdfast.client.cost import RunCost
from holdfast.engine.history import Opened, build_description
from holdfast.engine.history.cost import count_cost
from holdfast.states import StepState

QUICK = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=1), jitter=0)


@step(retry=QUICK)
async def cost_flaky(order: str) -> str:
    if step_info().attempt < 3:
        raise ConnectionError("not yet")
    return order


@step
async def cost_quick(number: int) -> str:
    return "x" * 5000


@step(local=True)
async def cost_local(number: int) -> int:
    return number


@step
async def cost_undone(number: int) -> int:
    return number


@cost_undone.compensate
async def cost_undo(number: int, result: int | None) -> None: ...


@workflow
async def cost_child() -> str:
    return "child"


@workflow
async def cost_run(order: str, left: int = 1) -> str:
    await cost_flaky(order)
    await cost_quick(1)
    await cost_quick(2)
    await cost_undone(1)
    await asyncio.gather(cost_local(1), cost_local(2))
    await asyncio.sleep(1)
    await wait_for("go", str)
    if left:
        continue_as_new(order, left - 1)
    await cost_child()
    return order


@workflow
async def cost_patched() -> bool:
    return patched("one-action")


def counted(cost: RunCost) -> dict[str, int]:
    """The actions of a run, without those by which the server of tests lets time pass."""
    return {kind: count for kind, count in cost.actions.items() if kind != "options"}


async def once_it_waits(run: Run[Any]) -> None:
    async def waits() -> bool:
        return bool((await run.describe()).waits)

    await eventually(waits)


async def test_a_run_is_counted_as_by_hand(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [cost_run, cost_child]):
        run = await holdfast_client.start(cost_run, "o")
        await once_it_waits(run)
        await run.send("go", "1")
        await once_it_waits(run)
        await run.send("go", "2")
        await run.result()
        cost = await run.cost()
        child = await holdfast_client.get(cost.children[0]).cost()
    assert counted(cost) == {
        "starts": 2,
        "search attributes": 4,  # each wait is found by one while it is open
        "steps": 2 * (3 + 2 + 1),
        "timers": 2,
        "messages": 2,
        "child runs": 2,
        "local steps and patches": 2,
    }
    assert cost.action_count == sum(cost.actions.values())
    assert cost.step_attempts == 12
    assert cost.execution_count == 2
    assert cost.round_trips == cost.workflow_tasks + 12
    # Fewer where the machine is so busy that a call takes a second.
    assert {one.step for one in cost.local} <= {"cost_quick"}
    assert [payload.what for payload in cost.largest[:4]] == [
        f"result of cost_quick-{number}" for number in (1, 2, 3, 4)
    ]
    assert cost.largest[0].size_bytes == 5002
    # The run that starts a child has the actions of its start.
    assert child.action_count == 0
    assert "https://docs.temporal.io/cloud/actions" in str(cost.to_dict())


async def test_a_patch_is_one_action_beside_the_start(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [cost_patched]):
        run = await holdfast_client.start(cost_patched)
        await run.result()
        cost = await run.cost()
    assert counted(cost) == {"starts": 1, "local steps and patches": 1}
    assert (cost.tokens, cost.cost_usd, cost.usage) == (0, 0, [])


def history(name: str) -> list[HistoryEvent]:
    path = Path(__file__).parents[1] / "histories" / f"{name}.json"
    return list(WorkflowHistory.from_json(name, path.read_text("utf-8")).events)


def test_short_steps_that_nothing_undoes_could_be_local() -> None:
    events = history("patch/patched")
    (pack, weigh) = count_cost([events], Opened(), description=build_description(events)).local
    assert (pack.step, pack.call_count, pack.saves_events, pack.saves_actions) == ("pack", 1, 5, 0)
    assert weigh.step == "weigh"
    cost = count_cost([events], Opened(), description=build_description(events), compensable=["pack"])
    assert [one.step for one in cost.local] == ["weigh"]
    for undone_or_retried in ("described/saga", "described/retries"):
        events = history(undone_or_retried)
        cost = count_cost([events], Opened(), description=build_description(events))
        retried = {step.name for step in build_description(events).steps if step.attempt > 1}
        undone = {
            step.name
            for step in build_description(events).steps
            if step.state is StepState.COMPENSATED or step.compensates
        }
        assert not {one.step for one in cost.local} & (retried | undone)


def test_tokens_and_money_are_those_that_steps_reported() -> None:
    events = history("dag/budget")
    cost = count_cost([events], Opened(), description=build_description(events))
    (used,) = cost.usage
    assert (used.tokens, used.cost_usd) == (5 * used.call_count, 0.25 * used.call_count)
    assert (cost.tokens, cost.cost_usd) == (used.tokens, used.cost_usd)
