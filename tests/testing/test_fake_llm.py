"""`FakeLLM`, seen through the unmodified `openai` client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from holdfast import InvalidConfiguration
from holdfast.testing import (
    FakeLLM,
    LLMAnswer,
    LLMFault,
    LLMRateLimit,
    LLMRequest,
    LLMToolCall,
    LLMUsage,
)

ASK: Any = [{"role": "user", "content": "What is 1 + 1?"}]
TOOL: Any = {
    "name": "add",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "minimum": 5}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
}


class Sum(BaseModel):
    sum: int
    words: list[str]


@pytest.fixture
def llm() -> Iterator[FakeLLM]:
    with FakeLLM() as fake:
        yield fake


def client(llm: FakeLLM, key: str = "any") -> OpenAI:
    return OpenAI(base_url=llm.base_url, api_key=key, max_retries=0, timeout=10)


def chat(llm: FakeLLM, **more: Any) -> Any:
    with client(llm) as api:
        return api.chat.completions.create(**{"model": "m", "messages": ASK, **more})


def respond(llm: FakeLLM, **more: Any) -> Any:
    with client(llm) as api:
        return api.responses.create(**{"model": "m", "input": "What is 1 + 1?", **more})


def test_a_scripted_text_is_what_the_client_reads(llm: FakeLLM) -> None:
    llm.script("Two.", "Two, again.")
    answer = chat(llm)
    assert answer.choices[0].message.content == "Two."
    assert (answer.choices[0].finish_reason, answer.model, answer.object) == ("stop", "m", "chat.completion")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert respond(llm).output_text == "Two, again."
    assert llm.script_left_count == 0


def test_without_script_and_rules_the_prompt_comes_back(llm: FakeLLM) -> None:
    assert "What is 1 + 1?" in chat(llm).choices[0].message.content
    assert "What is 1 + 1?" in respond(llm).output_text


def test_rules_answer_by_pattern_and_by_function(llm: FakeLLM) -> None:
    llm.rule(r"\d \+ \d", {"sum": 2})
    llm.rule(lambda request: request.model == "big", lambda request: f"{request.model} says {request.prompt}")
    assert json.loads(chat(llm).choices[0].message.content) == {"sum": 2}
    said = chat(llm, model="big", messages=[{"role": "user", "content": "hi"}])
    assert said.choices[0].message.content == "big says hi"


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_schema_that_is_asked_for_gets_a_value_that_fits(llm: FakeLLM, api: str) -> None:
    with client(llm) as api_client:
        if api == "chat":
            found = api_client.chat.completions.parse(model="m", messages=ASK, response_format=Sum)
            parsed: Any = found.choices[0].message.parsed
        else:
            parsed = api_client.responses.parse(model="m", input="?", text_format=Sum).output_parsed
    assert isinstance(parsed, Sum)
    assert llm.requests[0].schema_format["name"] == "Sum"


def test_tools_are_called_with_arguments_that_fit_when_one_must_be(llm: FakeLLM) -> None:
    choice = {"type": "function", "function": {"name": "add"}}
    [call] = (
        chat(llm, tools=[{"type": "function", "function": TOOL}], tool_choice=choice)
        .choices[0]
        .message.tool_calls
    )
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 1, "b": 5})
    answer = respond(
        llm, tools=[{"type": "function", **TOOL}], tool_choice={"type": "function", "name": "add"}
    )
    [item] = answer.output
    assert (item.type, item.name, json.loads(item.arguments)) == ("function_call", "add", {"a": 1, "b": 5})


def test_a_scripted_tool_call_and_its_result(llm: FakeLLM) -> None:
    llm.script(
        LLMAnswer(tool_calls=[LLMToolCall(name="add", arguments={"a": 1})]),
        lambda r: r.messages[-1]["content"],
    )
    first = chat(llm, tools=[{"type": "function", "function": TOOL}])
    assert first.choices[0].finish_reason == "tool_calls"
    [call] = first.choices[0].message.tool_calls
    second = chat(
        llm,
        messages=[
            *ASK,
            first.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "2"},
        ],
    )
    assert second.choices[0].message.content == "2"


@pytest.mark.parametrize("text", ["", "One", "One two  three\nfour ", " x" * 1000])
def test_streams_add_up_to_the_same_answer(llm: FakeLLM, text: str) -> None:
    llm.script(LLMAnswer(text), LLMAnswer(text))
    with client(llm) as api:
        chunks = list(
            api.chat.completions.create(
                model="m", messages=ASK, stream=True, stream_options={"include_usage": True}
            )
        )
        events = list(api.responses.create(model="m", input="?", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == text
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_the_clients_own_stream_helpers_understand_the_events(llm: FakeLLM) -> None:
    llm.script(LLMAnswer("Two words", tool_calls=[LLMToolCall(name="add", arguments={"a": 1})]))
    llm.script({"sum": 2, "words": []})
    with client(llm) as api:
        with api.chat.completions.stream(
            model="m", messages=ASK, tools=[{"type": "function", "function": {**TOOL, "strict": True}}]
        ) as stream:
            message = stream.get_final_completion().choices[0].message
        assert message.content == "Two words"
        assert message.tool_calls is not None
        assert json.loads(message.tool_calls[0].function.arguments) == {"a": 1}
        with api.responses.stream(model="m", input="?", text_format=Sum) as events:
            assert events.get_final_response().output_parsed == Sum(sum=2, words=[])


def test_a_stream_that_is_cut_ends_without_its_last_event_and_without_an_error(llm: FakeLLM) -> None:
    llm.script(LLMFault.cut(), LLMFault.cut())
    with client(llm) as api:
        chunks = list(api.chat.completions.create(model="m", messages=ASK, stream=True))
        events = list(api.responses.create(model="m", input="?", stream=True))
    assert chunks
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)
    assert events
    assert events[-1].type != "response.completed"


def test_a_background_response_is_fetched_later(llm: FakeLLM) -> None:
    llm.script(LLMAnswer("late", latency=timedelta(milliseconds=200)), LLMFault.hang())
    with client(llm) as api:
        begun = api.responses.create(model="m", input="?", background=True)
        assert (begun.status, begun.background, begun.output) == ("queued", True, [])
        while (found := api.responses.retrieve(begun.id)).status == "queued":
            time.sleep(0.02)
        assert found.output_text == "late"
        endless = api.responses.create(model="m", input="?", background=True)
        assert api.responses.cancel(endless.id).status == "cancelled"
        api.responses.delete(endless.id)
        with pytest.raises(openai.NotFoundError, match="not found"):
            api.responses.retrieve(endless.id)
    assert llm.polls_count > 0


@pytest.mark.parametrize(
    ("fault", "raises"),
    [
        (LLMFault.rate_limited("3"), openai.RateLimitError),
        (LLMFault.quota_exhausted(), openai.RateLimitError),
        (LLMFault.server_error(), openai.InternalServerError),
        (LLMFault.server_error(503), openai.InternalServerError),
        (LLMFault.context_length(), openai.BadRequestError),
        (LLMFault.content_filter(), openai.BadRequestError),
        (LLMFault.unauthorised(), openai.AuthenticationError),
        (LLMFault.forbidden(), openai.PermissionDeniedError),
        (LLMFault.no_such_model(), openai.NotFoundError),
        (LLMFault.reset(), openai.APIConnectionError),
        (LLMFault.truncated(), json.JSONDecodeError),
        (LLMFault.empty(), json.JSONDecodeError),
    ],
    ids=str,
)
def test_faults_are_errors_of_the_client(llm: FakeLLM, fault: LLMFault, raises: type[Exception]) -> None:
    llm.script(fault)
    with pytest.raises(raises) as raised:
        chat(llm)
    if isinstance(raised.value, openai.RateLimitError) and raised.value.code == "rate_limit_exceeded":
        assert raised.value.response.headers["retry-after"] == "3"


def test_no_answer_until_the_caller_gives_up(llm: FakeLLM) -> None:
    llm.script(LLMFault.hang())
    with client(llm) as api, pytest.raises(openai.APITimeoutError):
        api.chat.completions.create(model="m", messages=ASK, timeout=0.2)
    assert llm.requests[0].answered_at is None


def test_html_and_other_json_are_taken_by_the_client_and_hold_no_answer(llm: FakeLLM) -> None:
    llm.script(LLMFault.html(), LLMFault.wrong_shape())
    assert isinstance(chat(llm), str)
    assert not chat(llm).choices


def test_refusal_filter_length_usage_and_headers(llm: FakeLLM) -> None:
    llm.script(
        LLMAnswer(refusal="I will not."),
        LLMAnswer("begun", finish_reason="length", usage=None),
        LLMAnswer(usage=LLMUsage(input_tokens=7, output_tokens=5, cached_tokens=3, reasoning_tokens=2)),
        LLMAnswer("begun", finish_reason="length", headers={"x-mine": "yes"}),
        LLMAnswer(refusal="I will not."),
    )
    assert chat(llm).choices[0].message.refusal == "I will not."
    cut = chat(llm)
    assert (cut.choices[0].finish_reason, cut.usage) == ("length", None)
    usage = chat(llm).usage
    assert (usage.total_tokens, usage.prompt_tokens_details.cached_tokens) == (12, 3)
    with client(llm) as api:
        raw = api.responses.with_raw_response.create(model="m", input="?")
    assert raw.headers["x-mine"] == "yes"
    assert raw.parse().incomplete_details.reason == "max_output_tokens"
    assert respond(llm).output[0].content[0].refusal == "I will not."


@pytest.mark.parametrize(
    ("feature", "request_", "param"),
    [
        (
            "json_schema",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
            1,
        ),
        ("json_object", {"response_format": {"type": "json_object"}}, 1),
        ("tools", {"tools": [{"type": "function", "function": TOOL}]}, 1),
        ("stream", {"stream": True}, 1),
    ],
)
def test_what_an_endpoint_refuses(feature: Any, request_: Any, param: int) -> None:
    with FakeLLM(refuses=[feature]) as llm:
        with pytest.raises(openai.BadRequestError) as refused:
            chat(llm, **request_)
        assert refused.value.param is not None
        assert chat(llm).choices
        assert [request.status for request in llm.requests] == [400, 200]


def test_an_endpoint_without_one_of_the_apis() -> None:
    with FakeLLM(refuses=["responses"]) as llm, pytest.raises(openai.NotFoundError):
        respond(llm)
    with FakeLLM(refuses=["chat"]) as llm, pytest.raises(openai.NotFoundError):
        chat(llm)


def test_what_an_endpoint_ignores_it_takes() -> None:
    with FakeLLM(ignores=["json_schema", "tools"]) as llm:
        format_of = {"type": "json_schema", "json_schema": {"name": "n", "schema": Sum.model_json_schema()}}
        assert chat(llm, response_format=format_of).choices[0].message.content.startswith("An answer to")


def test_a_strict_schema_is_held_to_the_rules_of_the_api(llm: FakeLLM) -> None:
    loose = {"name": "Sum", "strict": True, "schema": Sum.model_json_schema()}
    with pytest.raises(openai.BadRequestError, match="additionalProperties"):
        chat(llm, response_format={"type": "json_schema", "json_schema": loose})
    with pytest.raises(openai.BadRequestError, match="the word 'json'"):
        chat(llm, response_format={"type": "json_object"})


def test_models_keys_and_unknown_addresses() -> None:
    with FakeLLM(models=["small"], api_key="right") as llm:
        with client(llm, "right") as api:
            assert [model.id for model in api.models.list()] == ["small"]
            assert api.models.retrieve("small").id == "small"
            with pytest.raises(openai.NotFoundError):
                api.chat.completions.create(model="large", messages=ASK)
            with pytest.raises(openai.NotFoundError):
                api.embeddings.create(model="small", input="x")
            with pytest.raises(openai.BadRequestError, match="messages"):
                api.chat.completions.create(model="small", messages=[])
        with client(llm, "wrong") as api, pytest.raises(openai.AuthenticationError):
            api.models.list()


def test_a_rate_limit_and_its_headers() -> None:
    with FakeLLM(rate_limit=LLMRateLimit(requests=2, per=timedelta(minutes=2))) as llm, client(llm) as api:
        raw = api.chat.completions.with_raw_response.create(model="m", messages=ASK)
        assert raw.headers["x-ratelimit-remaining-requests"] == "1"
        assert raw.headers["x-ratelimit-reset-requests"].startswith(("1m", "60", "59"))
        chat(llm)
        with pytest.raises(openai.RateLimitError) as limited:
            chat(llm)
        assert 0 < float(limited.value.response.headers["retry-after"]) <= 60


def test_what_was_asked_is_recorded(llm: FakeLLM) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    chat(llm, messages=[{"role": "user", "content": [{"type": "text", "text": "Look"}, image]}], seed=3)
    respond(llm, instructions="Be brief")
    first, second = llm.requests
    assert isinstance(first, LLMRequest)
    assert (first.api, first.prompt, first.body["seed"], first.stream) == ("chat", "Look", 3, False)
    assert first.headers["authorization"] == "Bearer any"
    assert first.answered_at is not None
    assert first.answered_at >= first.received_at
    assert second.messages == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "What is 1 + 1?"},
    ]


def test_five_megabytes_arrive_whole(llm: FakeLLM) -> None:
    llm.script("x" * 5_000_000)
    assert len(chat(llm).choices[0].message.content) == 5_000_000


def test_latency_is_waited_for_and_not_after_the_end() -> None:
    with FakeLLM(latency=timedelta(milliseconds=150)) as llm:
        began = time.monotonic()
        chat(llm)
        assert time.monotonic() - began >= 0.15


def test_a_misspelt_feature_and_a_taken_port_are_told(llm: FakeLLM) -> None:
    with pytest.raises(InvalidConfiguration, match="json_scheme"):
        FakeLLM(refuses=["json_scheme"])  # type: ignore[list-item]
    port = int(llm.base_url.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(InvalidConfiguration, match=str(port)), FakeLLM(port=port):
        pass
    with pytest.raises(InvalidConfiguration, match="with"):
        _ = FakeLLM().base_url
