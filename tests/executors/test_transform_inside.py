"""Local `transform` nodes that a run does itself give what their executor gives, and leave no step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from holdfast import Client, RunFailed, Worker
from holdfast.authoring.dag import Dag
from holdfast.testing import mock_step
from holdfast_executors.transform import Transform

INPUT = {
    "rows": [{"name": "a", "price": 1}, {"name": "b", "price": 2.5}],
    "note": "{{ input.secret }}",
    "none": None,
}

CHEAP: Mapping[str, Mapping[str, Any]] = {
    "template": {"template": {"first": "{{ input.rows[0] }}", "text": "{{ size(input.rows) }} rows", "n": 1}},
    "template of nothing": {"template": None},
    "text that looks like a template": {"template": ["{{ input.note }}", "{{ before }}"]},
    "expression": {"expression": "input.before.rows.map(row, row.price * 2)"},
    "expression over data": {
        "expression": "input + more[0]",
        "data": "{{ size(input.rows) }}",
        "variables": {"more": [3]},
    },
    "variables from outputs": {"expression": "x.rows[1].name", "variables": {"x": "{{ before }}"}},
    "mapping": {"mapping": {"a": "input.before.rows[0].name", "b": "input.before.none"}},
    "templates that name nothing": {"template": ["{{ '{{' }} hi", "{{ 1 + 1 }}"]},
    "passthrough": {"passthrough": True},
    "passthrough of data": {"passthrough": True, "data": [1, "{{ input.rows }}"]},
}
DEAR: Mapping[str, Mapping[str, Any]] = {
    "many expressions": {"mapping": {f"k{n}": "size(input.before.some.filter(x, x > 0))" for n in range(50)}},
    "much to compare": {"expression": "size(input.before.some.filter(a, input.before.some != [a]))"},
    "long text": {"template": ["a{{ before.half }}"] * 3},
    "large": {"expression": "size(input.before.large)"},
    "many elements": {"expression": "input.before.many.map(a, a + 1)[0]"},
    "large result": {"template": ["{{ before.half }}", "{{ before.half }}"]},
    "jq": {"jq": ".before.rows[0].name"},
}
WRONG: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "missing": ({"expression": "input.before.rows[9].name"}, "9"),
    "division": ({"mapping": {"a": "1 / (size(input.before.rows) - 2)"}}, "mapping.a"),
    "no number": ({"template": "{{ input.rows + 1 }}"}, "input.rows"),
}
STEP = "executor:transform"
LARGE = {**INPUT, "some": [1] * 990, "large": "x" * 70_000, "many": list(range(2_000)), "half": "y" * 40_000}


def of(config: Mapping[str, Any], *, local: bool) -> Dag:
    dag = Dag("inside", output="wanted")
    dag.node("before", executor="transform", config={"passthrough": True, "data": "{{ input }}"}, local=local)
    dag.node("wanted", executor="transform", config=config, local=local, depends_on=["before"])
    return dag


async def steps_of(client: Client, dag: Dag, given: object) -> tuple[Any, list[str]]:
    run = await client.start(dag, given)
    result = await run.result()
    return result, [step.name for step in (await run.describe()).steps]


@pytest.mark.parametrize("config", CHEAP.values(), ids=CHEAP)
async def test_cheap_ones_leave_no_step_and_give_the_same(
    holdfast_client: Client, config: Mapping[str, Any]
) -> None:
    async with Worker(holdfast_client, []):
        inside, none = await steps_of(holdfast_client, of(config, local=True), INPUT)
        outside, two = await steps_of(holdfast_client, of(config, local=False), INPUT)
    assert inside == outside
    assert (len(none), len(two)) == (0, 2)


@pytest.mark.parametrize("config", DEAR.values(), ids=DEAR)
async def test_dear_ones_are_left_to_the_executor(holdfast_client: Client, config: Mapping[str, Any]) -> None:
    async with Worker(holdfast_client, []):
        inside, steps = await steps_of(holdfast_client, of(config, local=True), LARGE)
        outside, _ = await steps_of(holdfast_client, of(config, local=False), LARGE)
    assert inside == outside
    assert steps


@pytest.mark.parametrize(("config", "told"), WRONG.values(), ids=WRONG)
async def test_one_that_fails_fails_as_a_step(
    holdfast_client: Client, config: Mapping[str, Any], told: str
) -> None:
    messages: list[str] = []
    async with Worker(holdfast_client, []):
        for local in (True, False):
            run = await holdfast_client.start(of(config, local=local), INPUT)
            with pytest.raises(RunFailed) as failed:
                await run.result()
            messages.append(failed.value.message.replace(run.id, "RUN"))
            assert [step.state for step in (await run.describe()).steps][-1] == "failed"
    assert messages[0] == messages[1]
    assert told in messages[0]


async def test_one_that_may_be_skipped_leaves_a_step(holdfast_client: Client) -> None:
    dag = Dag("maybe", output="[maybe, after]")
    dag.node("maybe", executor="transform", config={"template": 1}, local=True, when="input")
    dag.node("after", executor="transform", config={"template": 2}, local=True, depends_on=["maybe"])
    async with Worker(holdfast_client, []):
        assert await steps_of(holdfast_client, dag, True) == ([1, 2], [STEP, STEP])
        assert await steps_of(holdfast_client, dag, False) == ([None, 2], [STEP])


async def test_a_thousand_share_few_workflow_tasks_and_states_are_known(holdfast_client: Client) -> None:
    dag = Dag("wide", output="size(sum)", max_parallel=500)
    ids = [f"n{number}" for number in range(1_000)]
    for node in ids:
        dag.node(
            node, executor="transform", config={"expression": "1 + input", "data": "{{ input }}"}, local=True
        )
    dag.node("sum", executor="transform", config={"passthrough": True}, depends_on=ids)
    async with Worker(holdfast_client, []):
        run = await holdfast_client.start(dag, 1)
        assert await run.result() == 1_000
        nodes = (await run.state())["nodes"]
        drawn = await run.diagram()
    assert {nodes[node]["state"] for node in ids} == {"completed"}
    assert len((await run.history()).events) < 100
    assert "n999" in drawn


async def test_a_value_that_is_too_long_fails_as_a_step(holdfast_client: Client) -> None:
    dag = of({"template": "{{ before.large }}" * 1_000}, local=True)
    async with Worker(holdfast_client, []):
        run = await holdfast_client.start(dag, LARGE)
        with pytest.raises(RunFailed, match="longer than 52,428,800 characters"):
            await run.result()
        assert [step.state for step in (await run.describe()).steps][-1] == "failed"


async def test_one_behind_a_node_skipped_by_hand_is_drawn_as_done(holdfast_client: Client) -> None:
    dag = Dag("skipped", output="after")
    dag.add_wait("go", event="go")
    dag.node("after", executor="transform", config={"template": "x{{ go }}"}, local=True, depends_on=["go"])
    async with Worker(holdfast_client, []):
        run = await holdfast_client.start(dag, None)
        await run.update("skip_node", "go")
        assert await run.result() == "xnull"
        drawn = await run.diagram()
    line = next(line for line in drawn.splitlines() if "after" in line)
    assert "✓" in line


async def test_stand_ins_are_called(holdfast_client: Client) -> None:
    with mock_step(Transform.step, "mocked") as mock:
        async with Worker(holdfast_client, []):
            assert await holdfast_client.run(of({"template": 1}, local=True), INPUT) == "mocked"
    assert mock.calls


async def test_nothing_begins_in_a_paused_run(holdfast_client: Client) -> None:
    dag = Dag("paused", output="after")
    dag.add_wait("go", event="go")
    dag.node("after", executor="transform", config={"template": "done"}, local=True, depends_on=["go"])
    async with Worker(holdfast_client, []):
        run = await holdfast_client.start(dag, None)
        await run.pause("lunch")
        await run.send("go", None)
        while (await run.state())["nodes"]["go"]["state"] != "completed":  # noqa: ASYNC110 - the run is elsewhere
            await asyncio.sleep(0.1)
        assert (await run.state())["nodes"]["after"]["state"] != "completed"
        await run.resume()
        assert await run.result() == "done"
