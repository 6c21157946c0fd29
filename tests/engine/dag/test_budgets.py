"""What a run of a DAG may use up: it waits for a person before a call beyond it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from holdfast import BudgetExceeded, Client, Dag, Permanent, RunFailed, Worker, step, step_info, workflow
from holdfast.client.run import Run
from holdfast.spec.model import BudgetSpec

SPENT: list[str] = []


@step
async def budgets_spend(name: str, tokens: int = 0, seconds: float = 0.0) -> str:
    await asyncio.sleep(seconds)
    step_info().add_usage(tokens=tokens)
    SPENT.append(name)
    if name == "broken":
        raise Permanent("broken")
    return name


@workflow
async def budgets_inner(name: str) -> str:
    await budgets_spend(name, tokens=10)
    return await budgets_spend(name, tokens=10)


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    SPENT.clear()
    async with Worker(holdfast_client, [budgets_inner], queues=["default"]):
        yield holdfast_client


def fan(count: int, tokens: int, **budget: Any) -> Dag:
    dag = Dag("fan", budget=BudgetSpec(**budget))
    for number in range(count):
        dag.add_step(
            budgets_spend,
            id=f"n{number}",
            arguments={"name": f"n{number}", "tokens": tokens, "seconds": 0.05},
        )
    return dag


async def asked(client: Client, part: str = "") -> str:
    while not (found := [each.prompt for each in await client.approvals.list() if part in each.prompt]):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return found[0]


async def decide(run: Run[Any], client: Client, **decision: Any) -> None:
    await client.approvals.decide(run.id, "budget", decision)


async def test_calls_side_by_side_reserve_what_their_like_has_used(client: Client) -> None:
    run = await client.start(fan(10, 100, max_tokens=350))
    assert await asked(client) == (
        "The budget of 350 tokens does not suffice for node 'n3': 300 are taken. Raise it?"
    )
    assert len(SPENT) == 3
    assert (await run.state())["nodes"]["n3"]["waits_for"] == "the budget"
    await decide(run, client, approved=True, max_tokens=1_000)
    assert len(await run.result()) == 10
    state = await run.state()
    assert (state["usage"]["tokens"], state["usage"]["calls"]) == (1_000, 10)
    assert state["budget"] == {"tokens": 1_000}


async def test_approved_without_a_number_grants_as_much_again(client: Client) -> None:
    run = await client.start(fan(5, 100, max_calls=2))
    for bound, spent in ((2, 2), (4, 4)):
        await asked(client, f"budget of {bound} calls does not suffice")
        while len(SPENT) < spent:  # noqa: ASYNC110 - the others still run
            await asyncio.sleep(0.05)
        assert len(SPENT) == spent
        await decide(run, client, approved=True)
    assert len(await run.result()) == 5


async def test_who_refuses_ends_the_run(client: Client) -> None:
    run = await client.start(fan(3, 100, max_tokens=100))
    await asked(client)
    await decide(run, client, approved=False, by="ann", comment="enough")
    with pytest.raises(
        RunFailed, match=r"budget of 100 tokens is used up \(100\).* refused by ann: enough"
    ) as failed:
        await run.result()
    assert failed.value.error_type == BudgetExceeded.__name__
    assert len(SPENT) == 1


async def test_a_budget_may_fail_the_run_instead(client: Client) -> None:
    slow = Dag("slow", budget=BudgetSpec(max_time=timedelta(seconds=0.2), when_exceeded="fail"))
    slow.add_step(budgets_spend, id="sleep", arguments={"name": "sleep", "seconds": 0.3})
    slow.add_step(budgets_spend, id="after", arguments={"name": "after"}, depends_on=["sleep"])
    with pytest.raises(RunFailed, match=r"the budget of 0\.2 seconds is used up"):
        await client.run(slow)
    assert SPENT == ["sleep"]


async def test_what_needs_nothing_of_it_goes_on(client: Client) -> None:
    dag = Dag("free", budget=BudgetSpec(max_tokens=100))
    dag.add_step(budgets_spend, id="free", arguments={"name": "free"})
    dag.node(
        "dear",
        executor="workflow",
        config={"workflow": "budgets_inner", "input": "dear"},
        depends_on=["free"],
    )
    dag.add_step(budgets_spend, id="more", arguments={"name": "more"}, depends_on=["dear"])
    run = await client.start(dag)
    await run.result()
    assert (await run.state())["usage"]["tokens"] == 20  # of the sub-workflow


async def test_what_a_failed_call_used_up_counts(client: Client) -> None:
    dag = Dag("broken", on_failure="pause", budget=BudgetSpec(max_tokens=100))
    dag.add_step(
        budgets_spend, id="broken", arguments={"name": "broken", "tokens": 40}, when_exhausted="skip"
    )
    run = await client.start(dag)
    await run.result()
    assert (await run.state())["usage"]["tokens"] == 40


async def test_items_of_a_map_count_and_wait(client: Client) -> None:
    dag = Dag("items", budget=BudgetSpec(max_tokens=25))
    dag.add_map(budgets_spend, over="5", id="each", arguments={"name": "{{ string(item) }}", "tokens": 10})
    run = await client.start(dag)
    assert "does not suffice for item 2 of 'each': 20 are taken" in await asked(client)
    await decide(run, client, approved=True, max_tokens=50)
    assert await run.result() == ["0", "1", "2", "3", "4"]
