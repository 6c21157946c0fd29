"""What is ready at once does not all begin in one execution: histories stay short however wide a DAG is."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from pydantic import BaseModel, Field, JsonValue

from holdfast import Client, Executor, ExecutorContext, Worker, register_executor, step
from holdfast.authoring.dag import Dag
from holdfast.engine.dag import limits

DONE: Counter[str] = Counter()


class KeysConfig(BaseModel, extra="forbid"):
    pass


class KeysOutput(BaseModel):
    keys: list[str] = Field(description="What came in.")


@register_executor
class Keys(Executor[KeysConfig, KeysOutput]):
    """Says what its node depends on."""

    type = "full_keys"

    async def execute(self, ctx: ExecutorContext, config: KeysConfig, input: JsonValue) -> KeysOutput:
        assert isinstance(input, dict)
        return KeysOutput(keys=sorted(f"{name}={value}" for name, value in input.items()))


@step(name="full.note")
async def note(name: str) -> str:
    DONE[name] += 1
    return name


@pytest.fixture
async def client(holdfast_client: Client, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(limits, "_SOFT_EVENTS", 60)
    monkeypatch.setattr(limits, "_HARD_EVENTS", 120)
    DONE.clear()
    async with Worker(holdfast_client, []):
        yield holdfast_client


async def lengths(client: Client, run_id: str) -> list[int]:
    """How long the histories of a run's executions are."""
    found: list[int] = []
    execution_id: str | None = None
    while execution_id != "":
        history = await client.temporal.get_workflow_handle(run_id, run_id=execution_id).fetch_history()
        found.append(len(history.events))
        execution_id = history.events[
            0
        ].workflow_execution_started_event_attributes.continued_execution_run_id
    return found


async def test_nodes_that_wait_for_a_place_begin_in_the_next_execution(client: Client) -> None:
    dag = Dag("wide", max_parallel=10, output="size(input) == 0")
    for number in range(200):
        dag.add_step(note, id=f"n{number}", arguments={"name": f"n{number}"})
    run = await client.start(dag, [])
    assert await run.result() is True
    assert Counter({f"n{number}": 1 for number in range(200)}) == DONE
    assert max(await lengths(client, run.id)) < 240


async def test_maps_side_by_side_begin_as_far_as_there_is_room(client: Client) -> None:
    dag = Dag("maps", max_parallel=20, output="[m0, m19]")
    for number in range(20):
        dag.add_map(note, id=f"m{number}", over="10", arguments={"name": f"m{number} {{{{ index }}}}"})
    run = await client.start(dag)
    first, last = await run.result()
    assert (first[3], last[9]) == ("m0 3", "m19 9")
    assert set(DONE.values()) == {1}
    assert len(DONE) == 200
    assert max(await lengths(client, run.id)) < 300


async def test_an_executor_gets_outputs_of_earlier_executions(client: Client) -> None:
    dag = Dag("kept")
    dag.add_step(note, id="first", arguments={"name": "first"})
    for number in range(60):
        before = [f"n{number - 1}" if number else "first"]
        dag.add_step(note, id=f"n{number}", arguments={"name": f"n{number}"}, depends_on=before)
    dag.node("keys", executor="full_keys", depends_on=["first", "n59"])
    run = await client.start(dag)
    assert await run.result() == {"keys": ["first=first", "n59=n59"]}
    assert len(await lengths(client, run.id)) > 1
