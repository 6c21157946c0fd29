"""DAGs whose history would grow long: they continue as new, and nothing is lost or done twice."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from holdfast import Client, Permanent, RunFailed, Worker, step
from holdfast.authoring.dag import Dag
from holdfast.engine.dag import limits

CALLS: list[str] = []
UNDONE: list[str] = []


@step
async def long_add(name: str, terms: list[int]) -> int:
    CALLS.append(name)
    return 1 + sum(terms)


@step
async def long_book(name: str) -> str:
    CALLS.append(name)
    return f"{name} booked"


@long_book.compensate
async def long_unbook(name: str, booking: str | None) -> None:
    assert booking == f"{name} booked"
    UNDONE.append(name)


@step(retry="none")
async def long_refuse(after: Any) -> None:
    raise Permanent("refused")


@step
async def long_text(size: int) -> str:
    return "x" * size


@step
async def long_size(text: str, after: Any) -> int:
    return len(text)


@pytest.fixture
async def client(holdfast_client: Client, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(limits, "_SOFT_EVENTS", 60)
    monkeypatch.setattr(limits, "_HARD_EVENTS", 120)
    CALLS.clear()
    UNDONE.clear()
    async with Worker(holdfast_client, []):
        yield holdfast_client


async def executions(client: Client, run_id: str) -> int:
    return len([run async for run in client.temporal.list_workflows(f"WorkflowId = '{run_id}'")])


def add(dag: Dag, id: str, *terms: str) -> None:
    arguments = {"name": id, "terms": [f"{{{{ {term} }}}}" for term in terms]}
    dag.add_step(long_add, id=id, arguments=arguments, depends_on=list(terms))


@pytest.mark.parametrize("seed", range(3))
async def test_a_long_dag_runs_every_node_once_over_several_executions(client: Client, seed: int) -> None:
    chance, dag, expected = random.Random(seed), Dag("long"), dict[str, int]()
    for number in range(150):
        id = f"n{number}"
        terms = chance.sample(sorted(expected), min(len(expected), chance.randrange(4)))
        add(dag, id, *terms)
        expected[id] = 1 + sum(expected[term] for term in terms)
    add(dag, "last", *expected)
    run = await client.start(dag)
    assert await run.result() == 1 + sum(expected.values())
    assert sorted(CALLS) == sorted([*expected, "last"])
    assert await executions(client, run.id) > 2


async def test_waits_go_on_with_their_deadlines(client: Client) -> None:
    dag = Dag("waits", output="[message, approval, late, n79]")
    dag.add_wait("message", "word", timeout=timedelta(days=1))
    dag.add_approval("approval", "Go on?", timeout=timedelta(days=2))
    dag.add_wait("late", "never", timeout=timedelta(hours=3), when_exhausted="skip")
    dag.add_timer("timer", duration=timedelta(hours=1))
    for number in range(80):
        add(dag, f"n{number}", *([f"n{number - 1}"] if number else []))
    run = await client.start(dag)
    state = await run.state()
    while state["nodes"]["n79"]["state"] != "completed":
        state = await run.state()
    assert await executions(client, run.id) > 1
    assert state["nodes"]["approval"]["waits_for"] == "the decision 'approval'"
    await run.send("word", {"text": "yes"})
    await client.approvals.decide(run.id, "approval", {"approved": True})
    message, approval, late, last = await run.result()
    assert (message, approval["approved"], late, last) == ({"text": "yes"}, True, None, 80)


async def test_a_loop_goes_on_where_it_was(client: Client) -> None:
    dag = Dag("loop")
    dag.add_step(
        long_add,
        id="sum",
        arguments={"name": "{{ string(iteration) }}", "terms": ["{{ iteration == 0 ? 0 : sum }}"]},
        loop={"while": "sum < 70", "max_iterations": 100},
    )
    run = await client.start(dag)
    assert await run.result() == 70
    assert [int(name) for name in CALLS] == list(range(70))
    assert await executions(client, run.id) > 1


async def test_what_earlier_executions_did_is_undone(client: Client) -> None:
    dag = Dag("undone")
    for number in range(60):
        before = [f"n{number - 1}"] if number else []
        dag.add_step(long_book, id=f"n{number}", arguments={"name": f"n{number}"}, depends_on=before)
    dag.add_step(long_refuse, id="refuse", arguments={"after": "{{ n59 }}"}, depends_on=["n59"])
    run = await client.start(dag)
    with pytest.raises(RunFailed, match="refused"):
        await run.result()
    assert [f"n{number}" for number in reversed(range(60))] == UNDONE
    assert await executions(client, run.id) > 1


async def test_large_outputs_go_along_as_references(client: Client) -> None:
    dag = Dag("large", output="size")
    dag.add_step(long_text, id="text", arguments={"size": 1_000_000})
    for number in range(60):
        add(dag, f"n{number}", *([f"n{number - 1}"] if number else []))
    dag.add_step(
        long_size,
        id="size",
        arguments={"text": "{{ text }}", "after": "{{ n59 }}"},
        depends_on=["text", "n59"],
    )
    run = await client.start(dag)
    assert await run.result() == 1_000_000
    assert await executions(client, run.id) > 1
    assert (await run.history()).to_json().count("x" * 100) == 0
