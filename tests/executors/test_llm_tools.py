"""The tool loop: turns and calls as durable steps, and what a model is told of what goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, JsonValue

from holdfast import (
    Client,
    Executor,
    ExecutorContext,
    ExecutorOptions,
    InvalidInput,
    Permanent,
    RunFailed,
    Worker,
)
from holdfast.testing import FakeLLM
from holdfast.testing.llm_answers import LLMAnswer, LLMToolCall
from holdfast_executors import llm
from holdfast_executors.llm_turns import _RESULT_CHARS  # pyright: ignore[reportPrivateUsage]

from . import llm_flows as flows

TOOLS = [flows.look_up, flows.weather]


class SearchConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    query: str
    """What to look for."""
    index: str = "public"
    """Where."""


class Search(Executor[SearchConfig, list[str]]):
    """Searches an index.

    Slowly.
    """

    type = "llm-test-search"
    options = ExecutorOptions(has_effects=False)

    async def execute(self, ctx: ExecutorContext, config: SearchConfig, input: JsonValue) -> list[str]:
        if config.query == "nothing":
            raise Permanent("there is nothing")
        return [f"{config.query} in {config.index}"]


def call(name: str, arguments: Any) -> LLMToolCall:
    return LLMToolCall(name=name, arguments=arguments)


def answer(*calls: LLMToolCall) -> LLMAnswer:
    return LLMAnswer(tool_calls=calls)


async def told(*calls: LLMToolCall, tools: Any = TOOLS) -> list[str]:
    """What a model is told that asks for these calls at once."""
    with FakeLLM(answer(*calls), "done") as fake:
        run = await llm.run_tools("?", model="m", base_url=fake.base_url, tools=tools)
        answers = [str(m["content"]) for m in fake.requests[1].messages if m["role"] == "tool"]
    assert (run.text, run.turns_count, [use.answer for use in run.uses]) == ("done", 2, answers)
    assert [use.failed for use in run.uses] == [text.startswith("error: ") for text in answers]
    return answers


async def test_what_a_model_is_told_of_steps() -> None:
    with FakeLLM("done") as fake:
        await llm.run_tools("?", model="m", base_url=fake.base_url, tools=TOOLS)
        first, second = fake.requests[0].tools
    assert (first["name"], first["description"]) == ("llm_look_up", "Look an order up.")
    assert first["parameters"]["required"] == ["order"]
    assert set(first["parameters"]["properties"]) == {"order", "full"}
    assert first["parameters"]["$defs"]["Order"]["required"] == ["number"]
    assert second["parameters"] == {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }


async def test_calls_at_once_are_answered_in_order_async_and_sync() -> None:
    assert await told(
        call("llm_weather", {"city": "Oslo"}), call("llm_look_up", {"order": {"number": 7}})
    ) == ['{"celsius":4}', "order 7: x"]


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("llm_fly", {}, "there is no tool 'llm_fly'; there is llm_look_up, llm_weather"),
        ("llm_weather", "{", "the arguments are no JSON"),
        ("llm_weather", "[1]", "the arguments are no JSON object"),
        ("llm_weather", '{"city": NaN}', "the arguments are no JSON"),
        (
            "llm_weather",
            '{"city": ' + "[" * 150 + "]" * 150 + "}",
            "the arguments nest deeper than 100 levels",
        ),
        ("llm_weather", {}, "city is missing"),
        ("llm_weather", {"city": 7}, "city does not fit: the value: Input should be a valid string"),
        ("llm_weather", {"city": "Oslo", "day": 1}, "there is no day; it takes city"),
        (
            "llm_look_up",
            {"order": {"number": "many"}},
            "order does not fit: number: Input should be a valid int",
        ),
    ],
)
async def test_what_a_model_got_wrong_is_told_to_it(name: str, arguments: Any, says: str) -> None:
    flows.looked_up.clear()
    [said] = await told(call(name, arguments))
    assert said.startswith(f"error: {says}")
    assert flows.looked_up == []


async def test_a_tool_that_fails_is_told_to_the_model() -> None:
    with FakeLLM(answer(call("llm-test-search", {"query": "nothing"})), "done") as fake:
        tool = llm.tool(Search, takes=["query"])
        run = await llm.run_tools("?", model="m", base_url=fake.base_url, tools=[tool])
    assert run.uses[0].answer == "error: there is nothing"


async def test_an_executor_lends_only_the_fields_that_are_named() -> None:
    tool = llm.tool(Search, takes=["query"], config={"index": "inner"}, name="find", description="Finds.")
    assert tool.told.model_dump() == {
        "name": "find",
        "description": "Finds.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"description": "What to look for.", "title": "Query", "type": "string"}},
            "required": ["query"],
            "additionalProperties": False,
        },
    }
    good, bad = await told(
        call("find", {"query": "{{ secrets.KEY }}"}),
        call("find", {"query": "a", "index": "secret"}),
        tools=[tool],
    )
    assert good == '["{{ secrets.KEY }} in inner"]', "what a model writes is never a template"
    assert bad == "error: there is no index; it takes query"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"takes": ["quarry"]}, "'quarry'"),
        ({"takes": ["query"], "config": {"query": "a"}}, "both given and left to the model"),
        ({"config": {"where": 1}}, "'where'"),
    ],
)
def test_an_executor_is_not_lent_with_fields_that_it_has_not(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        llm.tool(Search, **options)


async def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="llm_weather"):
        await llm.run_tools("?", model="m", tools=[flows.weather, flows.weather])


async def test_a_long_result_is_cut_and_says_so() -> None:
    [said] = await told(call("llm_look_up", {"order": {"number": 1}, "full": True}))
    assert said.endswith("characters left out)")
    assert len(said) < _RESULT_CHARS + 100


async def test_too_many_calls_at_once_are_not_made() -> None:
    flows.looked_up.clear()
    answers = await told(*[call("llm_look_up", {"order": {"number": n}}) for n in range(1, 36)])
    assert len(flows.looked_up) == 32
    assert [text for text in answers if "not called" in text] == answers[32:]


async def test_the_conversation_can_go_on() -> None:
    with FakeLLM(answer(call("llm_weather", {"city": "Oslo"})), "4 degrees", "yes") as fake:
        run = await llm.run_tools("?", model="m", base_url=fake.base_url, tools=TOOLS, system="Be brief.")
        await llm.ask("Sure?", model="m", base_url=fake.base_url, messages=run.messages)
        roles = [message["role"] for message in fake.requests[2].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_the_responses_api_has_tools_too() -> None:
    with FakeLLM(answer(call("llm_weather", {"city": "Oslo"})), "4 degrees") as fake:
        run = await llm.run_tools("?", model="m", base_url=fake.base_url, tools=TOOLS, api="responses")
        kinds = [message.get("type") for message in fake.requests[1].messages]
    assert (run.text, kinds) == ("4 degrees", [None, "function_call", "function_call_output"])


async def test_the_last_answer_may_have_a_shape_and_all_turns_cost() -> None:
    with FakeLLM(answer(call("llm_weather", {"city": "Oslo"})), {"value": 4}) as fake:
        run = await llm.run_tools(
            "?",
            model="m",
            base_url=fake.base_url,
            tools=TOOLS,
            output={"type": "integer"},
            prices={"m": llm.LlmPrice(input_usd=1, output_usd=1)},
        )
    assert run.output.data == 4
    assert run.usage is not None
    assert run.output.usage is not None
    assert run.usage.total_tokens > run.output.usage.total_tokens
    assert run.cost_usd == pytest.approx(run.usage.total_tokens / 1e6)


async def test_in_a_workflow_each_turn_and_each_call_is_a_step(holdfast_client: Client) -> None:
    calls = [call("llm_look_up", {"order": {"number": 7}}), call("llm_look_up", {"order": {"number": 0}})]
    with FakeLLM(answer(*calls), answer(call("llm_weather", {"city": "Oslo"})), "done") as fake:
        async with Worker(holdfast_client, [flows]):
            run = await holdfast_client.start(flows.with_tools, fake.base_url, 10)
            done = await run.result()
    described = await run.describe()
    assert [step.name for step in described.steps] == [
        "executor:llm", "llm_look_up", "llm_look_up", "executor:llm", "llm_weather", "executor:llm",
    ]  # fmt: skip
    assert [use.failed for use in done.uses] == [False, True, False]
    assert "order 0 was never made" in done.uses[1].answer
    assert done.turns_count == 3


async def test_a_model_that_never_ends_is_stopped(holdfast_client: Client) -> None:
    with FakeLLM() as fake:
        fake.rule(".", answer(call("llm_weather", {"city": "Oslo"})))
        async with Worker(holdfast_client, [flows]):
            with pytest.raises(RunFailed, match="max_turns=3"):
                await holdfast_client.run(flows.with_tools, fake.base_url, 3)
        assert len(fake.requests) == 3
        with pytest.raises(InvalidInput, match="max_turns=10"):
            await llm.run_tools("?", model="m", base_url=fake.base_url, tools=TOOLS)
        assert len(fake.requests) == 13
