"""Typed output: every rung of the ladder, answers that do not fit, and types in code."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from holdfast import Client, InvalidInput, Permanent, Worker
from holdfast.testing import FakeLLM, LLMFault
from holdfast.testing.llm_answers import LLMAnswer, LLMToolCall
from holdfast.testing.llm_rules import Feature
from holdfast_executors import llm
from holdfast_executors.llm_client import Endpoints
from holdfast_executors.llm_ladder import Shape, is_strict
from holdfast_executors.llm_models import Reply

from . import llm_flows as flows
from .llm_attempts import asking, output, postponed, refused

Api = Literal["chat", "responses"]
both = pytest.mark.parametrize("api", ["chat", "responses"])
SUM: dict[str, Any] = {
    "type": "object",
    "properties": {"sum": {"type": "integer", "minimum": 0}},
    "required": ["sum"],
    "additionalProperties": False,
}
RUNGS: list[tuple[list[Feature], str]] = [
    ([], "json_schema"),
    (["json_schema"], "tool"),
    (["json_schema", "tools"], "json_object"),
    (["json_schema", "tools", "json_object"], "text"),
]


@both
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("refuses", "rung"), RUNGS)
async def test_an_endpoint_is_asked_in_the_surest_way_that_it_has(
    api: Api, stream: bool, refuses: list[Feature], rung: str
) -> None:
    with FakeLLM(refuses=refuses) as fake:
        fake.rule(".", {"sum": 3})
        said = await output(asking(fake, api=api, stream=stream, output=SUM))
        assert len(fake.requests) == 1 + len(refuses), "a refused way costs one request"
    assert (said.data, said.rung, said.asks_count, said.tool_calls) == ({"sum": 3}, rung, 1, [])


@pytest.mark.parametrize(("refuses", "rung"), RUNGS)
async def test_what_an_endpoint_has_is_found_out_once(refuses: list[Feature], rung: str) -> None:
    endpoints = Endpoints()
    try:
        with FakeLLM(refuses=refuses) as fake:
            fake.rule(".", {"sum": 3})
            for _ in range(3):
                said = await output(asking(fake, output=SUM), endpoints=endpoints)
                assert said.rung == rung
            assert len(fake.requests) == 3 + len(refuses)
            await output(asking(fake, model="another", output=SUM), endpoints=endpoints)
            assert len(fake.requests) == 4 + 2 * len(refuses), "another model may have more"
    finally:
        await endpoints.close()


@both
@pytest.mark.parametrize("ignores", [["json_schema"], ["json_schema", "tools"]])
async def test_a_field_that_is_taken_and_ignored_is_noticed(api: Api, ignores: list[Feature]) -> None:
    endpoints = Endpoints()
    try:
        with FakeLLM(ignores=ignores) as fake:
            fake.rule(lambda request: "JSON Schema" in request.text, {"sum": 3})
            said = await output(asking(fake, api=api, output=SUM), endpoints=endpoints)
            assert (said.data, said.rung, said.asks_count) == ({"sum": 3}, "tool", 2)
            again = asking(fake, api=api, output=SUM, system="Think of the JSON Schema.")
            assert (await output(again, endpoints=endpoints)).asks_count == 1
    finally:
        await endpoints.close()


@both
async def test_an_answer_that_does_not_fit_is_asked_for_again_with_what_is_wrong(api: Api) -> None:
    with FakeLLM({"sum": -1}, {"sum": 3}) as fake:
        said = await output(asking(fake, api=api, output=SUM))
        again = fake.requests[1]
    assert (said.data, said.asks_count) == ({"sum": 3}, 2)
    assert '{"sum": -1}' in again.text
    assert "sum: -1 is less than the minimum of 0" in again.prompt


@pytest.mark.parametrize(
    "answer", [{"sum": "3"}, {"total": 3}, "three", '{"sum": 3', '{"sum": NaN}', "[" * 100_000]
)
async def test_it_is_asked_for_again_at_most_twice(answer: Any) -> None:
    with FakeLLM(answer, answer, answer, {"sum": 3}) as fake:
        said = await refused(asking(fake, output=SUM))
        assert (len(fake.requests), fake.script_left_count) == (3, 1)
    assert "asked 3 times" in said
    assert "tokens" in said


async def test_the_ways_it_was_asked_in_do_not_add_to_the_askings() -> None:
    with FakeLLM(refuses=["json_schema", "tools"]) as fake:
        fake.rule(".", "no")
        assert "asked 3 times" in await refused(asking(fake, output=SUM))
        assert len(fake.requests) == 5


@pytest.mark.parametrize(
    "text",
    [
        '{"sum": 3}',
        ' {"sum": 3}\n',
        'Here it is:\n```json\n{"sum": 3}\n```\nI hope it helps.',
        '```\n{"sum": 3}\n```',
        'The sum is {"sum": 3}, as you see.',
    ],
)
async def test_json_is_found_among_words(text: str) -> None:
    with FakeLLM(text) as fake:
        said = await output(asking(fake, output=SUM))
    assert (said.data, said.text) == ({"sum": 3}, text)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ({"type": "string", "enum": ["a", "b"]}, "b"),
        ({"type": ["integer", "null"]}, None),
        ({"$ref": "#/$defs/N", "$defs": {"N": {"type": "integer"}}}, 4),
    ],
)
@pytest.mark.parametrize(("refuses", "rung"), RUNGS)
async def test_what_is_no_object_travels_in_one(
    schema: dict[str, Any], value: Any, refuses: list[Feature], rung: str
) -> None:
    with FakeLLM(refuses=refuses) as fake:
        fake.rule(".", {"value": value})
        said = await output(asking(fake, output=schema))
    assert (said.data, said.rung) == (value, rung)


async def test_a_schema_that_strict_endpoints_refuse_is_sent_as_not_strict() -> None:
    open_schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    with FakeLLM({"a": 1, "b": 2}, {"sum": 1}) as fake:
        said = await output(asking(fake, output=open_schema))
        await output(asking(fake, output={**SUM, "properties": {"sum": {"type": "integer"}}}))
        strict = [request.schema_format["strict"] for request in fake.requests]
    assert said.data == {"a": 1, "b": 2}
    assert strict == [False, True]


async def test_a_schema_that_the_endpoint_refuses_does_not_spoil_its_next_calls() -> None:
    endpoints = Endpoints()
    refusal = LLMFault.error(400, "Invalid schema for response_format", code="invalid_json_schema")
    try:
        with FakeLLM(refusal, {"sum": 1}) as fake:
            assert (await output(asking(fake, output=SUM), endpoints=endpoints)).rung == "tool"
            fake.rule(".", {"sum": 2})
            assert (await output(asking(fake, output=SUM), endpoints=endpoints)).rung == "json_schema"
    finally:
        await endpoints.close()


async def test_an_error_in_the_middle_of_asking_again_is_not_the_models() -> None:
    with FakeLLM({"sum": -1}, LLMFault.server_error()) as fake:
        assert "500" in (await postponed(asking(fake, output=SUM)))[0]


async def test_a_value_that_was_cut_off_is_not_asked_for_again() -> None:
    with FakeLLM(LLMAnswer('{"sum": ', finish_reason="length")) as fake:
        assert "allow more tokens" in await refused(asking(fake, output=SUM))
        assert len(fake.requests) == 1


async def test_tools_and_typed_output_together() -> None:
    look = LLMAnswer(tool_calls=[LLMToolCall(name="look", arguments={})])
    with FakeLLM(look, {"sum": 3}, refuses=["json_schema"]) as fake:
        config = asking(fake, output=SUM, tools=[{"name": "look"}])
        first = await output(config)
        second = await output(config)
    assert [call.name for call in first.tool_calls] == ["look"]
    assert (first.data, second.data, second.rung) == (None, {"sum": 3}, "json_object")


class Line(BaseModel):
    sku: str
    count: int


class Basket(BaseModel):
    lines: list[Line]


def test_models_whose_fields_are_all_required_are_sent_as_strict() -> None:
    sent = Shape(Basket.model_json_schema()).sent
    assert is_strict(sent)
    assert sent["additionalProperties"] is False
    assert "additionalProperties" not in Basket.model_json_schema()


def test_a_value_with_more_fields_still_fits_a_model_that_ignores_them() -> None:
    text = json.dumps({"lines": [], "note": "none"})
    _, problems, is_json = Shape(Basket.model_json_schema()).read(
        Reply(text=text, finish_reason="stop"), "text"
    )
    assert (problems, is_json) == ([], True)


async def test_a_type_is_asked_for_and_given() -> None:
    basket = {"lines": [{"sku": "a", "count": 2}]}
    with FakeLLM(basket, {"value": ["a", "b"]}, {"value": 7}) as fake:
        assert await llm.ask_for(Basket, "?", model="m", base_url=fake.base_url) == Basket.model_validate(
            basket
        )
        assert await llm.ask_for(list[str], "?", model="m", base_url=fake.base_url) == ["a", "b"]
        assert await llm.ask_for(int, "?", model="m", base_url=fake.base_url) == 7


async def test_a_types_own_validator_is_told_to_the_model() -> None:
    with FakeLLM({"name": "paris", "population": 1}, {"name": "Paris", "population": 1}) as fake:
        city = await llm.ask_for(flows.City, "Where?", model="m", base_url=fake.base_url, system="Hurry.")
        again = fake.requests[1]
    assert city == flows.City(name="Paris", population=1)
    assert "a name begins with a capital letter" in again.prompt
    assert [message["role"] for message in again.messages] == ["system", "user", "assistant", "user"]


async def test_a_types_own_validator_gives_up_after_two_more_answers() -> None:
    with FakeLLM() as fake:
        fake.rule(".", {"name": "paris", "population": 1})
        with pytest.raises(InvalidInput, match="capital letter"):
            await llm.ask_for(flows.City, "Where?", model="m", base_url=fake.base_url)
        assert len(fake.requests) == 3


async def test_no_answer_fits() -> None:
    with FakeLLM() as fake:
        fake.rule(".", "no")
        with pytest.raises(Permanent, match="no value that fits"):
            await llm.ask_for(Basket, "?", model="m", base_url=fake.base_url)


async def test_in_a_workflow_each_asking_for_a_validators_sake_is_a_step(holdfast_client: Client) -> None:
    with FakeLLM({"name": "paris", "population": 1}, {"name": "Paris", "population": 1}) as fake:
        async with Worker(holdfast_client, [flows]):
            run = await holdfast_client.start(flows.ask_for_city, fake.base_url)
            assert await run.result() == flows.City(name="Paris", population=1)
    assert [step.name for step in (await run.describe()).steps] == ["executor:llm"] * 2
