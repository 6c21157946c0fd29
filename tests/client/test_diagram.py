"""`run.diagram()`: pictures of runs on a real server, without asking a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from temporalio import workflow as temporal
from temporalio.worker import Worker as TemporalWorker

from holdfast import Client, InvalidInput, NotFound, Permanent, RunFailed, Worker, step, workflow
from holdfast.authoring.dag import Dag
from holdfast.client.diagram import run_graph
from holdfast.spec.diagram import DiagramNode
from holdfast.spec.model import CompensateSpec
from holdfast.states import StepState


@step
async def drawn_add(value: int) -> int:
    return value + 1


@step(retry="none")
async def drawn_break(value: int) -> int:
    if value == 2:
        raise Permanent("two")
    return value


@workflow
async def drawn_code(value: int) -> int:
    both = await asyncio.gather(drawn_add(value), drawn_break(value))
    return sum(both)


@temporal.defn(name="drawn_foreign", sandboxed=False)
class Foreign:
    @temporal.run
    async def run(self) -> None:
        await temporal.execute_activity(
            "drawn_add", 1, task_queue="default", start_to_close_timeout=timedelta(seconds=30)
        )
        await temporal.sleep(60)


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    async with Worker(holdfast_client, [drawn_code], queues=["default"]):
        yield holdfast_client


async def nodes(client: Client, run: str) -> dict[str, DiagramNode]:
    return {node.id: node for node in (await run_graph(client.temporal, run)).nodes}


def add(dag: Dag, id: str, *after: str, step: Any = drawn_add, **options: Any) -> None:
    dag.add_step(step, id=id, arguments={"value": 1}, depends_on=list(after), **options)


async def test_a_dag_is_drawn_as_its_document_with_the_states_of_its_nodes(client: Client) -> None:
    dag = Dag("drawn")
    add(dag, "first")
    dag.add_switch("choose", {"first > 5": "large"}, default="small")
    dag.add_edge("first", "choose")
    add(dag, "large")
    add(dag, "small")
    add(dag, "never", "small", when="small > 100")
    dag.add_map(
        drawn_break, id="items", over="[1, 2, 3]", arguments={"value": "{{ item }}"}, on_error="collect"
    )
    dag.add_map(drawn_add, id="none", over="[]", arguments={"value": "{{ item }}"})
    dag.add_timer("pause", "2s", depends_on=["small"])
    dag.add_workflow("child", drawn_code, input=1, depends_on=["pause"])
    add(dag, "last", "large", "child")
    run = await client.start(dag)
    await run.result()
    found = await nodes(client, run.id)
    assert {name: node.state for name, node in found.items()} == {
        "first": StepState.COMPLETED,
        "choose": StepState.COMPLETED,
        "large": StepState.SKIPPED,
        "small": StepState.COMPLETED,
        "never": StepState.SKIPPED,
        "items": StepState.COMPLETED,
        "none": StepState.COMPLETED,
        "pause": StepState.COMPLETED,
        "child": StepState.COMPLETED,
        "last": StepState.COMPLETED,
    }
    assert (found["items"].count, found["none"].count) == (3, 0)
    assert found["items"].detail.startswith("2 completed, 1 failed") or found["items"].detail.startswith(
        "1 failed, 2 completed"
    )
    assert "items \N{MULTIPLICATION SIGN}3" in await run.diagram()


async def test_an_open_run_shows_what_it_waits_for(client: Client) -> None:
    dag = Dag("drawn_open")
    add(dag, "first")
    dag.add_approval("agree", "Go on?", depends_on=["first"])
    add(dag, "last", "agree")
    run = await client.start(dag)
    async with asyncio.timeout(20):
        while (await nodes(client, run.id))["agree"].state is not StepState.WAITING:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    found = await nodes(client, run.id)
    assert [node.state for node in found.values()] == [
        StepState.COMPLETED,
        StepState.WAITING,
        StepState.PENDING,
    ]
    await client.approvals.decide(run.id, "agree", approved=True)
    await run.result()
    assert {node.state for node in (await nodes(client, run.id)).values()} == {StepState.COMPLETED}


async def test_a_failed_dag_shows_where_and_what_was_undone(client: Client) -> None:
    dag = Dag("drawn_failed")
    undo: dict[str, Any] = {"step": drawn_add.name, "arguments": {"value": 1}}
    add(dag, "first", compensate=CompensateSpec(type="step", config=undo))
    dag.add_step(drawn_break, id="second", arguments={"value": 2}, depends_on=["first"])
    add(dag, "third", "second")
    run = await client.start(dag)
    with pytest.raises(RunFailed):
        await run.result()
    found = await nodes(client, run.id)
    assert [node.state for node in found.values()] == [StepState.COMPENSATED, StepState.FAILED, None]
    assert "Permanent" in found["second"].detail


async def test_nodes_that_somebody_skipped_are_drawn_so(client: Client) -> None:
    dag = Dag("drawn_skipped", on_failure="pause")
    dag.add_approval("agree", "Go on?")
    dag.add_wait("message", "go")
    dag.add_timer("pause", "10d")
    dag.add_step(drawn_break, id="fails", arguments={"value": 2})
    add(dag, "later", "agree")
    add(dag, "last", "later", "fails")
    run = await client.start(dag)

    async def state_of(node: str) -> StepState | None:
        return (await nodes(client, run.id))[node].state

    async with asyncio.timeout(20):
        while await state_of("fails") is not StepState.FAILED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    with pytest.raises(InvalidInput, match="has no node"):
        await run.update("skip_node", "nobody")
    with pytest.raises(InvalidInput):
        await run.update("retry_node", "last")
    await run.update("skip_node", "later")
    assert await state_of("later") is StepState.PENDING
    for node in ("message", "pause", "fails", "agree"):
        await run.update("skip_node", node)
    await run.result()
    assert {name: node.state for name, node in (await nodes(client, run.id)).items()} == {
        **dict.fromkeys(["agree", "message", "pause", "fails", "later"], StepState.SKIPPED),
        "last": StepState.COMPLETED,
    }


async def test_a_skip_that_was_refused_changes_nothing_in_the_picture(client: Client) -> None:
    dag = Dag("drawn_refused")
    add(dag, "first")
    dag.add_approval("agree", "Go on?", depends_on=["first"])
    run = await client.start(dag)
    async with asyncio.timeout(20):
        while (await nodes(client, run.id))["agree"].state is not StepState.WAITING:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    with pytest.raises(InvalidInput, match="too late"):
        await run.update("skip_node", "first")
    await client.approvals.decide(run.id, "agree", approved=True)
    await run.result()
    assert (await nodes(client, run.id))["first"].state is StepState.COMPLETED


async def test_a_large_map_that_runs_in_child_runs_is_one_box_with_its_items(client: Client) -> None:
    dag = Dag("drawn_large")
    dag.add_map(drawn_add, id="items", over="input", arguments={"value": "{{ item }}"})
    run = await client.start(dag, 350)
    await run.result()
    found = await nodes(client, run.id)
    assert (found["items"].state, found["items"].count) == (StepState.COMPLETED, 350)


async def test_code_is_drawn_from_its_history_in_every_form(client: Client) -> None:
    run = await client.start(drawn_code, 1)
    await run.result()
    graph = await run_graph(client.temporal, run.id)
    assert [(node.id, node.state) for node in graph.nodes] == [
        ("drawn_add-1", StepState.COMPLETED),
        ("drawn_break-1", StepState.COMPLETED),
    ]
    assert graph.title == "drawn_code completed"
    assert "drawn_add" in await run.diagram()
    assert (await run.diagram("mermaid")).startswith("flowchart TD")
    assert (await run.diagram("dot")).startswith("digraph")
    assert ElementTree.fromstring(await run.diagram("svg")).tag.endswith("svg")
    with pytest.raises(InvalidInput, match="use one of text, mermaid, dot, svg"):
        await run.diagram("png")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await client.get("nobody").diagram()


async def test_a_run_of_somebody_elses_workflow_is_drawn_too(client: Client) -> None:
    async with TemporalWorker(client.temporal, task_queue="foreign", workflows=[Foreign]):
        handle = await client.temporal.start_workflow("drawn_foreign", id="foreign", task_queue="foreign")
        await handle.result()
    text = await client.get("foreign").diagram()
    assert "✓ drawn_add" in text
    assert "✓ sleep 60 s" in text
