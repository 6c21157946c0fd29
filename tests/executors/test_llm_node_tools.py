"""Tools of `llm` nodes: the run makes the calls that a model asks for, each as a step of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, JsonValue

from holdfast import (
    Client,
    Dag,
    Executor,
    ExecutorContext,
    ExecutorOptions,
    Permanent,
    Worker,
    register_executor,
    step,
)
from holdfast.testing import FakeLLM
from holdfast.testing.llm_answers import LLMAnswer, LLMToolCall

MADE: list[Any] = []


@step(name="node_order")
async def order(number: int, note: str = "") -> str:
    """Look an order up."""
    MADE.append((number, note))
    if number == 0:
        raise Permanent("order 0 was never made")
    return f"order {number}: {note}"


class FindConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    query: str
    """What to look for."""
    index: str = "public"
    """Where."""
    key: str = ""
    """What opens it."""


@register_executor
class Find(Executor[FindConfig, list[str]]):
    """Searches an index."""

    type = "node_find"
    options = ExecutorOptions(has_effects=False)

    async def execute(self, ctx: ExecutorContext, config: FindConfig, input: JsonValue) -> list[str]:
        MADE.append(config.model_dump())
        return [f"{config.query} in {config.index}"]


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    MADE.clear()
    async with Worker(holdfast_client, [], queues=["default"]):
        yield holdfast_client


def asks(*calls: tuple[str, Any]) -> LLMAnswer:
    return LLMAnswer(tool_calls=[LLMToolCall(name=name, arguments=given) for name, given in calls])


def dag_of(fake: FakeLLM, tools: Any = ({"step": "node_order"},), **config: Any) -> Dag:
    dag = Dag("asking", output="answer")
    base = {"model": "m", "base_url": fake.base_url, "prompt": "Where is it?", "tools": list(tools)}
    dag.node("answer", executor="llm", config=base | config)
    return dag


def told(fake: FakeLLM, turn: int) -> list[str]:
    """What the model was told of its tools by this turn."""
    return [str(m["content"]) for m in fake.requests[turn].messages if m["role"] == "tool"]


async def test_each_turn_and_each_call_is_a_step(client: Client) -> None:
    first = asks(("node_order", {"number": 7}), ("node_order", {"number": 0}))
    with FakeLLM(first, asks(("node_order", {"number": 8, "note": "{{ input }}"})), "done") as fake:
        run = await client.start(dag_of(fake), "secret")
        output = await run.result()
        assert told(fake, 2) == [
            "order 7: ",
            "error: step 'node_order' failed: Permanent: order 0 was never made",
            "order 8: {{ input }}",
        ]
    steps = (await run.describe()).steps
    assert [one.activity_id for one in steps] == [
        "answer", "answer[node_order]", "answer[node_order]-2", "answer-2", "answer[node_order]-3", "answer-3",
    ]  # fmt: skip
    assert output["text"] == "done"
    assert output["asks_count"] == 3
    assert [one["role"] for one in output["said"]] == [
        "assistant", "tool", "tool", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert "next" not in output
    assert (await run.state())["nodes"]["answer"]["done"] == 3
