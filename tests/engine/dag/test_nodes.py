"""Kinds of nodes and what they may be given: executors, sub-workflows, checked messages, limits, and decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field, JsonValue
from temporalio import activity

from holdfast import (
    Client,
    Executor,
    ExecutorContext,
    ExecutorOptions,
    InvalidInput,
    InvalidWorkflow,
    Permanent,
    RetryPolicy,
    RunFailed,
    Worker,
    register_executor,
    step,
    step_info,
)
from holdfast.authoring.dag import Dag
from holdfast.spec.document import load_value
from holdfast.spec.validate import validate

DONE: list[str] = []
RELEASED = asyncio.Event()


class JoinConfig(BaseModel, extra="forbid"):
    prefix: str = Field(description="What comes first.")


class JoinOutput(BaseModel):
    text: str = Field(description="The joined text.")
    attempt: int = Field(description="Which attempt it was.")


@register_executor
class Join(Executor[JoinConfig, JoinOutput]):
    """Joins what the node depends on."""

    type = "nodes_join"
    options = ExecutorOptions(timeout=timedelta(seconds=7), has_effects=False, idempotent=True)

    async def execute(self, ctx: ExecutorContext, config: JoinConfig, input: JsonValue) -> JoinOutput:
        assert isinstance(input, dict)
        ctx.add_usage(cost_usd=0.5, tokens=10)
        text = config.prefix + ",".join(f"{name}={value}" for name, value in sorted(input.items()))
        return JoinOutput(text=text, attempt=ctx.attempt)


@step
async def nodes_say(text: str) -> str:
    DONE.append(text)
    return text


@step(timeout=timedelta(seconds=3), retry="quick")
async def nodes_flaky(times: int) -> int:
    if step_info().attempt < times:
        raise ValueError("again")
    return step_info().attempt


@step
async def nodes_sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


@step(retry="none")
async def nodes_refuse() -> None:
    raise Permanent("refused")


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    DONE.clear()
    async with Worker(holdfast_client, []):
        yield holdfast_client


def say(dag: Dag, id: str, text: str, *after: str, **options: Any) -> None:
    dag.add_step(nodes_say, id=id, arguments={"text": text}, depends_on=list(after), **options)


async def test_an_executor_gets_what_its_node_depends_on(client: Client) -> None:
    dag = Dag("joined", output="[both.text, mapped.map(one, one.text)]")
    say(dag, "a", "A")
    say(dag, "b", "B")
    dag.node("both", executor="nodes_join", config={"prefix": "{{ a }}: "}, depends_on=["a", "b"])
    dag.node("mapped", executor="nodes_join", config={"prefix": ""}, map={"over": "['x', 'y']"})
    run = await client.start(dag)
    assert await run.result() == ["A: a=A,b=B", ["index=0,item=x", "index=1,item=y"]]
    state = await run.state()
    assert state["usage"]["cost_usd"] == 1.5
    assert state["usage"]["tokens"] == 30


async def test_the_run_keeps_an_executors_defaults(client: Client) -> None:
    dag = Dag("kept")
    dag.node("join", executor="nodes_join", config={"prefix": ""})
    run = await client.start(dag)
    await run.result()
    [scheduled] = [
        event.activity_task_scheduled_event_attributes
        for event in (await run.history()).events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert scheduled.start_to_close_timeout.ToTimedelta() == timedelta(seconds=7)


async def test_a_steps_own_options_stand_in_the_document(client: Client) -> None:
    dag = Dag("options")
    dag.add_step(nodes_flaky, id="flaky", arguments={"times": 3})
    [node] = dag.compile().nodes
    assert (node.timeout, node.retry and node.retry.max_attempts) == (timedelta(seconds=3), 5)
    run = await client.start(dag)
    assert await run.result() == 3
    assert (await run.state())["nodes"]["flaky"]["attempts"] == 3


async def test_a_dag_is_a_part_of_another_as_it_was(client: Client) -> None:
    inner = Dag("inner", input_schema={"type": "integer"}, output="said")
    say(inner, "said", "inner {{ input }}")
    outer = Dag("outer")
    outer.add_workflow("part", inner, input="{{ input + 1 }}")
    spec = outer.compile()
    say(inner, "later", "later")
    assert await client.run(Dag.load(spec), 1) == "inner 2"
    assert DONE == ["inner 2"]
    with pytest.raises(RunFailed, match="does not fit its input_schema"):
        await client.run(Dag.load(spec.document()), 1.5)


def test_a_document_inside_a_document_is_checked_with_it() -> None:
    inner: dict[str, Any] = {
        "name": "i",
        "nodes": [{"id": "a", "type": "step", "config": {"step": "s"}, "when": "b"}],
    }
    node = {"id": "part", "type": "workflow", "config": {"workflow": inner, "input": "{{ input }}"}}
    [finding] = validate(load_value({"name": "o", "nodes": [node]}))
    assert (finding.code, finding.node) == ("HF-D041", "part")
    assert finding.path == "nodes[0].config.workflow.nodes[0].when"
    for _ in range(11):
        inner = {"name": "i", "nodes": [{"id": "p", "type": "workflow", "config": {"workflow": inner}}]}
    assert "HF-D022" in {finding.code for finding in validate(load_value(inner))}


def test_a_dag_is_no_part_of_itself() -> None:
    dag = Dag("own")
    with pytest.raises(InvalidWorkflow, match="cannot be a part of itself"):
        dag.add_workflow("part", dag)


async def test_an_input_that_breaks_the_schema_is_refused_before_the_start(client: Client) -> None:
    dag = Dag(
        "typed",
        input_schema={"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    )
    say(dag, "said", "{{ string(input.id) }}")
    with pytest.raises(InvalidInput, match=r'input\.id: expected a whole number, got "\{\{ 1 \}\}"'):
        await client.start(dag, {"id": "{{ 1 }}"})
    assert await client.run(dag, {"id": 5}) == "5"


async def test_messages_and_decisions_are_checked_by_their_schemas(client: Client) -> None:
    dag = Dag("checked", output="[word, choice]")
    dag.add_wait("word", "word", schema={"type": "string", "maxLength": 3})
    dag.add_approval("choice", "Ship {{ input }}?", form={"enum": ["yes", "no"]})
    run = await client.start(dag, "it")
    while not await client.approvals.list():  # noqa: ASYNC110 - the run is elsewhere
        await asyncio.sleep(0.05)
    [approval] = await client.approvals.list()
    assert (approval.prompt, approval.form) == ("Ship it?", {"enum": ["yes", "no"]})
    with pytest.raises(InvalidInput, match="is longer than 3"):
        await run.send("word", "words")
    with pytest.raises(InvalidInput, match="perhaps"):
        await client.approvals.decide(run.id, "choice", "perhaps")
    await run.send("word", "one")
    await client.approvals.decide(run.id, "choice", "yes")
    assert await run.result() == ["one", "yes"]


@step(retry="none", name="nodes_once")
async def nodes_once(text: str) -> str:
    DONE.append(text)
    raise RuntimeError("once is enough")


@step(name="nodes_brief", timeout=timedelta(seconds=7), local=True, idempotent=True)
async def nodes_brief() -> float | None:
    timeout = activity.info().start_to_close_timeout
    return timeout.total_seconds() if timeout else None


@step
async def nodes_undo() -> None:
    DONE.append("undo")
    await RELEASED.wait()


DOCUMENT = """
name: own
nodes:
  - {id: brief, type: step, config: {step: nodes_brief}}
  - {id: part, type: workflow, depends_on: [brief], config: {workflow: {name: inner, nodes: [
      {id: once, type: step, config: {step: nodes_once, arguments: {text: it}}}]}}}
"""


@pytest.mark.parametrize("known", [True, False])
async def test_a_step_in_a_document_has_its_own_options(
    client: Client, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if not known:  # as where a client has none of the worker's code
        monkeypatch.setattr("holdfast.engine.dag.flow.known_steps", lambda names: {})
    run = await client.start(Dag.load(DOCUMENT))
    with pytest.raises(RunFailed, match="once is enough"):
        await run.result()
    assert DONE == ["it"]
    [brief] = [found for found in (await run.describe()).steps if found.name == "nodes_brief"]
    assert brief.local
    assert (await run.history()).to_json().count('"EVENT_TYPE_MARKER_RECORDED"') == (1 if known else 2)


async def test_a_misspelt_step_is_refused_before_anything_runs(client: Client) -> None:
    dag = Dag.load(DOCUMENT.replace("nodes_once", "nodes_one"))
    with pytest.raises(
        RunFailed, match=r"node 'once': this worker has no step 'nodes_one'; did you mean 'nodes_once'"
    ):
        await client.run(dag)


async def test_while_a_run_ends_nothing_is_decided_any_more(client: Client) -> None:
    RELEASED.clear()
    dag = Dag("ending")
    undo = {"type": "step", "config": {"step": "nodes_undo"}}
    say(dag, "first", "first", compensate=undo)
    dag.add_step(nodes_once, id="once", arguments={"text": "once"}, depends_on=["first"])
    say(dag, "later", "later", "once")
    run = await client.start(dag)
    while "undo" not in DONE:  # noqa: ASYNC110 - the run is elsewhere
        await asyncio.sleep(0.05)
    with pytest.raises(InvalidInput, match=r"the run is ending.*once is enough"):
        await run.update("skip_node", "later")
    RELEASED.set()
    with pytest.raises(RunFailed, match="once is enough"):
        await run.result()


async def test_a_node_is_skipped_before_it_starts_and_while_it_waits(client: Client) -> None:
    dag = Dag("skipped", output="[waits, after, last]")
    dag.add_wait("waits", "never")
    say(dag, "after", "after", "waits")
    say(dag, "last", "last", "after")
    run = await client.start(dag)
    while (await run.state())["nodes"]["waits"]["state"] != "waiting":  # noqa: ASYNC110 - the run is elsewhere
        await asyncio.sleep(0.05)
    with pytest.raises(InvalidInput, match="has no node 'wait'"):
        await run.update("skip_node", "wait")
    await run.update("skip_node", "after")
    await run.update("skip_node", "waits")
    assert await run.result() == [None, None, "last"]
    assert DONE == ["last"]


async def test_a_sub_workflow_has_a_time_limit_and_its_failure_may_skip(client: Client) -> None:
    waiting, refusing = Dag("waiting"), Dag("refusing")
    waiting.add_wait("waits", "never")
    refusing.add_step(nodes_refuse, id="refuse")
    outer = Dag("outer", output="[slow, failed]")
    outer.add_workflow("slow", waiting, timeout=timedelta(seconds=1), when_exhausted="skip")
    outer.add_workflow("failed", refusing, when_exhausted="skip")
    assert await client.run(outer) == [None, None]


async def test_why_a_node_does_not_go_on_is_shown(client: Client) -> None:
    dag = Dag("crowded", max_parallel=1)
    for number in range(3):
        dag.add_step(nodes_sleep, id=f"n{number}", arguments={"seconds": 0.5})
    run = await client.start(dag)
    reasons = set[str]()
    while not (await run.status()).closed:
        reasons |= {node["waits_for"] for node in (await run.state())["nodes"].values()}
    assert "one of the 1 places of max_parallel" in reasons


@step(retry=RetryPolicy(max_attempts=3, first_delay=timedelta(minutes=1)))
async def nodes_falter(text: str) -> str:
    if step_info().attempt == 1:
        raise ConnectionError("once")
    return text


async def test_state_says_which_attempt_a_node_waits_for(client: Client) -> None:
    dag = Dag("faltering", output="falters")
    dag.add_step(nodes_falter, id="falters", arguments={"text": "done"})
    run = await client.start(dag)

    async def node() -> dict[str, Any]:
        found: dict[str, Any] = (await run.state())["nodes"]["falters"]
        return found

    while (await node())["state"] != "retrying":  # noqa: ASYNC110 - the run is elsewhere
        await asyncio.sleep(0.1)
    found = await node()
    assert (found["attempts"], found["waits_for"]) == (2, "attempt 2")
    assert await run.result() == "done"
    found = await node()
    assert (found["state"], found["attempts"], found["waits_for"]) == ("completed", 2, None)
