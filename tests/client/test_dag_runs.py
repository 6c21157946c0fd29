"""Runs of DAGs from the outside: under the name of the DAG, with their own input."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from holdfast import Client, Permanent, Worker, step, workflow
from holdfast.authoring.dag import Dag
from holdfast.client.connection import Connection, connect_wrapped
from holdfast.spec.model import BudgetSpec


@step
async def dr_add(value: int) -> int:
    return value + 1


@step
async def dr_break() -> None:
    raise Permanent("it is broken")


@workflow
async def dr_code() -> None: ...


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    async with Worker(holdfast_client, [dr_code]):
        yield holdfast_client


def adds(name: str) -> Dag:
    dag = Dag(name)
    dag.add_step(dr_add, id="add", arguments={"value": "{{ input.start }}"})
    return dag


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("searchable", [True, False])
async def test_runs_are_found_by_the_name_of_their_dag(client: Client, searchable: bool) -> None:
    async def connect() -> Connection:
        return dataclasses.replace(await connect_wrapped(client.temporal), searchable=searchable)

    async with Client(connect) as looking:
        await looking.run(adds("dr-one"), {"start": 1})
        part = await looking.start(adds("dr-one"), {"start": 2})
        await part.result()
        whole = Dag("dr-whole")
        whole.add_workflow("part", adds("dr-two"), input={"start": 3})
        assert await looking.run(whole) == 4
        await looking.run(dr_code)

        async def all_there() -> bool:
            return await looking.runs.count() == 5

        await eventually(all_there)
        found = await looking.runs.list(workflow="dr-one")
        assert [run.workflow for run in found] == ["dr-one", "dr-one"]
        assert await looking.runs.count(workflow="dr-one") == 2
        assert len(await looking.runs.list(workflow="dr-one", limit=1)) == 1
        assert [run.workflow for run in await looking.runs.list(workflow="dr-two")] == ["dr-two"]
        assert [run.workflow for run in await looking.runs.list(workflow="dr_code")] == ["dr_code"]
        assert await looking.runs.count(workflow="dr-three", state="completed") == 0


async def test_a_description_has_the_dags_name_and_the_runs_own_input(client: Client) -> None:
    run = await client.start(adds("dr-described"), {"start": 1})
    await run.result()
    described = await run.describe()
    assert described.workflow == "dr-described"
    assert [preview.value for preview in described.input] == [{"start": 1}]
    assert described.listens_to == []


async def test_a_description_names_what_a_dag_listens_to_now_or_later(client: Client) -> None:
    dag = Dag("dr-listens", budget=BudgetSpec(max_calls=5))
    dag.add_approval("agree", "Go on?")
    dag.add_wait("paid", "payment", depends_on=["agree"])
    run = await client.start(dag)

    async def is_asking() -> bool:
        return bool(await client.approvals.list(run_id=run.id))

    await eventually(is_asking)
    assert (await run.describe()).listens_to == ["agree", "budget", "payment"]
    (approval,) = await client.approvals.list()
    assert approval.workflow == "dr-listens"
    await run.cancel()
    code = await client.start(dr_code)
    await code.result(timeout=timedelta(seconds=30))
    assert (await code.describe()).listens_to is None


async def test_a_run_that_is_held_by_a_failed_node_says_which_and_how_to_go_on(client: Client) -> None:
    dag = Dag("dr-held", on_failure="pause")
    dag.add_step(dr_break, id="charge")
    dag.add_step(dr_break, id="report")
    dag.add_approval("agree", "Go on?")
    run = await client.start(dag, id="dr-held")

    async def is_held() -> bool:
        return "'charge', 'report'" in ((await run.describe()).waiting_for or "")

    await eventually(is_held)
    assert (await run.describe()).waiting_for == (
        "waits for approval 'Go on?'; waits for somebody to retry or skip what failed, 'charge', 'report': "
        "holdfast runs update dr-held retry_node '\"charge\"' (or skip_node)"
    )
    await run.update("skip_node", "charge")
    assert "what failed, 'report':" in ((await run.describe()).waiting_for or "")
    await run.update("skip_node", "report")
    assert (await run.describe()).waiting_for == "waits for approval 'Go on?'"
    await client.approvals.decide(run.id, "agree", approved=True)
    await run.result()
