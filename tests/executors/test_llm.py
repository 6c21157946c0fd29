"""The llm executor against a FakeLLM over loopback: what is sent, what comes back, what it costs."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Literal

import pytest

from holdfast import Client, InvalidInput, RetryAfter, RunFailed, Worker
from holdfast.testing import FakeLLM, LLMFault, override
from holdfast.testing.llm_answers import LLMAnswer, LLMToolCall, LLMUsage
from holdfast.testing.llm_limits import LLMRateLimit
from holdfast_executors import llm
from holdfast_executors.llm_client import Endpoints
from holdfast_executors.llm_limits import Bucket, seconds_of

from . import llm_flows as flows
from .llm_attempts import asking, attempt, output, postponed, refused

both = pytest.mark.parametrize("api", ["chat", "responses"])
Api = Literal["chat", "responses"]
PNG = "data:image/png;base64,iVBORw0KGgo="
KEY = "sk-canary-7h3qu1ckbrownf0x"


@both
async def test_a_prompt_is_answered(api: Api) -> None:
    with FakeLLM("Hello!") as fake:
        said = await output(asking(fake, api=api, system="Be kind.", prompt="Hi"))
        [asked] = fake.requests
    assert (said.text, said.finish_reason, said.model, said.asks_count) == ("Hello!", "stop", "m", 1)
    assert said.response_id
    assert [message["role"] for message in asked.messages] == ["system", "user"]
    assert (asked.text, asked.api) == ("Be kind.\nHi", api)


@both
async def test_a_conversation_goes_as_it_is_with_the_prompt_last(api: Api) -> None:
    messages = [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "name": "add", "arguments": '{"a": 2, "b": 2}'}]},
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
        {"role": "assistant", "content": "4"},
    ]
    with FakeLLM("8") as fake:
        await output(asking(fake, api=api, messages=messages, prompt="And twice that?"))
        [asked] = fake.requests
    if api == "chat":
        assert asked.messages[1]["tool_calls"][0]["function"] == {
            "name": "add",
            "arguments": '{"a": 2, "b": 2}',
        }
        assert asked.messages[2] == {"role": "tool", "content": "4", "tool_call_id": "c1"}
    else:
        assert asked.messages[1]["type"] == "function_call"
        assert asked.messages[2] == {"type": "function_call_output", "call_id": "c1", "output": "4"}
    assert asked.prompt == "And twice that?"


@both
async def test_images_go_with_the_prompt(api: Api) -> None:
    with FakeLLM("A dot.") as fake:
        await output(asking(fake, api=api, prompt="What is this?", images=[PNG, "https://example.com/a.png"]))
        [asked] = fake.requests
    content = asked.messages[0]["content"]
    if api == "chat":
        assert content[1:] == [
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ]
    else:
        assert [part["image_url"] for part in content[1:]] == [PNG, "https://example.com/a.png"]
        assert {part["type"] for part in content[1:]} == {"input_image"}
    assert asked.prompt == "What is this?"


@both
async def test_any_field_of_the_api_passes_through(api: Api) -> None:
    params = {"temperature": 0.5, "seed": 7, "metadata": {"a": "b"}, "a_field_of_tomorrow": [1, None]}
    with FakeLLM() as fake:
        await output(asking(fake, api=api, params=params))
        [asked] = fake.requests
    assert {name: asked.body[name] for name in params} == params


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_offered_and_what_the_model_asks_for_is_told(api: Api, stream: bool) -> None:
    calls = [
        LLMToolCall(name="add", arguments={"a": 1}),
        LLMToolCall(name="add", arguments="no json"),
    ]
    tool = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {}}}}
    with FakeLLM(LLMAnswer(tool_calls=calls)) as fake:
        said = await output(asking(fake, api=api, tools=[tool], stream=stream))
        [asked] = fake.requests
    assert asked.tools[0]["name"] == "add"
    assert [(call.name, call.arguments) for call in said.tool_calls] == [
        ("add", '{"a": 1}'),
        ("add", "no json"),
    ]
    assert said.finish_reason == "tool_calls"
    assert len({call.id for call in said.tool_calls}) == 2


@both
async def test_a_stream_is_published_piece_by_piece_and_gives_the_whole(api: Api) -> None:
    text = "A sentence of several words, so that there are several pieces."
    pieces: list[llm.TokenPiece] = []
    with FakeLLM(LLMAnswer(text, usage=LLMUsage(input_tokens=5, output_tokens=9))) as fake:
        said = await output(asking(fake, api=api, stream=True), pieces=pieces)
    assert said.text == "".join(piece.text for piece in pieces) == text
    assert said.usage is not None
    assert (said.usage.input_tokens, said.usage.output_tokens) == (5, 9)
    assert len(pieces) > 2
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    assert {(piece.run_id, piece.node, piece.attempt) for piece in pieces} == {("contract", "node", 1)}


async def test_a_subscriber_that_fails_costs_no_answer() -> None:
    def broken(piece: llm.TokenPiece) -> None:
        raise ValueError(piece.text)

    with FakeLLM("Hello there!") as fake, override({llm.token_sink: broken}):
        said = await llm.ask("Hi", model="m", base_url=fake.base_url, stream=True)
    assert said.text == "Hello there!"


PRICES = {"m": {"input_usd": 2.0, "output_usd": 8.0, "cached_input_usd": 0.5}}
COUNTED = LLMUsage(input_tokens=1_000, output_tokens=500, cached_tokens=400, reasoning_tokens=100)


@both
async def test_tokens_and_their_price(api: Api) -> None:
    with FakeLLM(LLMAnswer("a", usage=COUNTED)) as fake:
        ended = await attempt(asking(fake, api=api, prices=PRICES))
    said = json.loads(ended.output.data)
    assert said["usage"] == {
        "input_tokens": 1_000, "output_tokens": 500, "cached_tokens": 400, "reasoning_tokens": 100,
    }  # fmt: skip
    assert said["cost_usd"] == pytest.approx((600 * 2 + 400 * 0.5 + 500 * 8) / 1e6)
    counted = json.loads(ended.output.metadata["holdfast-usage"])
    assert counted == {"tokens": 1_500, "cost_usd": pytest.approx(said["cost_usd"])}


async def test_a_model_without_a_price_costs_nobody_knows_what_and_its_tokens_count() -> None:
    with FakeLLM(LLMAnswer("a", usage=COUNTED)) as fake:
        ended = await attempt(asking(fake, prices={"another": PRICES["m"]}))
    assert json.loads(ended.output.data)["cost_usd"] is None
    assert json.loads(ended.output.metadata["holdfast-usage"]) == {"tokens": 1_500}


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_an_endpoint_that_does_not_tell_tokens(api: Api, stream: bool) -> None:
    with FakeLLM(LLMAnswer("a", usage=None)) as fake:
        said = await output(asking(fake, api=api, prices=PRICES, stream=stream))
    assert (said.text, said.usage, said.cost_usd) == ("a", None, None)


async def test_the_key_goes_with_the_request_and_nowhere_else() -> None:
    with FakeLLM("fine", LLMFault.error(400, f"What is {KEY}?"), api_key=KEY) as fake:
        config = asking(fake, api_key_secret="LLM_KEY")
        good = await attempt(config, secrets={"LLM_KEY": KEY})
        bad = await attempt(config, secrets={"LLM_KEY": KEY})
        assert fake.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert good.error is None
    assert bad.error is not None
    assert "***" in bad.error.message
    for ended in (good, bad):
        assert {place for place, text in ended.written.items() if KEY in text} == set()


async def test_no_key_is_sent_to_an_endpoint_that_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    with FakeLLM() as fake:
        await output(asking(fake))
        assert KEY not in str(fake.requests[0].headers)
        assert "authorization" not in fake.requests[0].headers


async def test_a_missing_key_is_named() -> None:
    with FakeLLM() as fake:
        assert "LLM_KEY" in await refused(asking(fake, api_key_secret="LLM_KEY"))
        assert fake.requests == []


@pytest.mark.parametrize(
    "fault", [LLMFault.no_such_model(), LLMFault.rate_limited("1"), LLMFault.server_error(), LLMFault.html()]
)
async def test_fallbacks_are_asked_in_order(fault: LLMFault) -> None:
    with FakeLLM(fault, fault, "from the third") as fake:
        said = await output(asking(fake, model="a", fallbacks=["b", "a", "c"]))
        assert [request.model for request in fake.requests] == ["a", "b", "c"]
    assert (said.model, said.text) == ("c", "from the third")


async def test_a_fallback_does_not_mend_what_is_wrong_with_the_request_or_the_key() -> None:
    with FakeLLM(LLMFault.unauthorised()) as fake:
        assert "Incorrect API key" in await refused(asking(fake, fallbacks=["b"]))
        assert len(fake.requests) == 1


async def test_a_fallbacks_answer_carries_what_the_first_model_cost() -> None:
    shape = {"type": "integer"}
    wrong = LLMAnswer('{"value": "many"}', usage=COUNTED)
    with FakeLLM(wrong, LLMFault.server_error(), LLMAnswer('{"value": 3}', usage=COUNTED)) as fake:
        said = await output(asking(fake, output=shape, fallbacks=["cheap"], prices=PRICES))
    assert said.usage is not None
    assert (said.data, said.model, said.asks_count) == (3, "cheap", 2)
    assert said.usage.total_tokens == 3_000
    assert said.cost_usd is None, "the price of one of the two is not known"


async def test_a_response_in_the_background_is_fetched_by_its_id() -> None:
    with FakeLLM(LLMAnswer("slow", latency=timedelta(seconds=0.6))) as fake:
        said = await output(asking(fake, api="responses", background=True))
        assert (len(fake.requests), fake.polls_count > 0) == (1, True)
    assert said.text == "slow"


async def test_the_next_attempt_resumes_a_response_in_the_background(holdfast_client: Client) -> None:
    with FakeLLM(LLMAnswer("slow", latency=timedelta(seconds=1.5))) as fake:
        async with Worker(holdfast_client, [flows]):
            options = {"api": "responses", "background": True, "seconds": 0.8}
            run = await holdfast_client.start(flows.ask, fake.base_url, options)
            said = await run.result()
        assert len(fake.requests) == 1
    assert said.text == "slow"
    assert (await run.describe()).steps[0].attempt > 1


async def test_an_attempt_after_a_failure_does_not_pay_again_for_what_an_earlier_one_got(
    holdfast_client: Client,
) -> None:
    wrong = LLMAnswer('{"value": "many"}', usage=COUNTED)
    with FakeLLM(wrong, LLMFault.server_error(), LLMAnswer('{"value": 3}', usage=COUNTED)) as fake:
        async with Worker(holdfast_client, [flows]):
            run = await holdfast_client.start(flows.ask, fake.base_url, {"output": {"type": "integer"}})
            said = await run.result()
        assert [request.status for request in fake.requests] == [200, 500, 200]
    assert (said.data, said.asks_count) == (3, 2)
    assert said.usage is not None
    assert said.usage.total_tokens == 3_000, "what the first attempt paid is counted in the last one"
    assert (await run.describe()).steps[0].attempt == 2


async def test_prompt_answer_and_errors_of_a_run_show_no_key(
    holdfast_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    wrong = f'{{"value": "{KEY}"}}'
    answers = (wrong, LLMFault.server_error(), wrong, wrong)
    with FakeLLM(*answers, api_key=KEY) as fake:
        options = {"api_key_secret": "LLM_KEY", "output": {"type": "integer"}}
        async with Worker(holdfast_client, [flows], secrets={"LLM_KEY": KEY}):
            run = await holdfast_client.start(flows.ask, fake.base_url, options)
            with pytest.raises(RunFailed, match="no value that fits"):
                await run.result()
    history = await holdfast_client.temporal.get_workflow_handle(run.id).fetch_history()
    kept = b"".join(event.SerializeToString() for event in history.events)
    assert b"LLM_KEY" in kept
    assert KEY.encode() not in kept
    assert KEY not in caplog.text
    assert KEY not in str(await run.describe())


async def test_an_endpoint_that_tells_its_limits_is_not_asked_beyond_them() -> None:
    limit = LLMRateLimit(requests=4, per=timedelta(seconds=1))
    endpoints = Endpoints()
    try:
        with FakeLLM(rate_limit=limit) as fake:
            for _ in range(8):
                await output(asking(fake), endpoints=endpoints)
            assert [request.status for request in fake.requests] == [200] * 8
    finally:
        await endpoints.close()


async def test_a_429_holds_back_the_next_call_of_this_worker_to_the_same_model() -> None:
    endpoints = Endpoints()
    try:
        with FakeLLM(LLMFault.rate_limited("60")) as fake:
            await postponed(asking(fake), endpoints=endpoints)
            waits = (await attempt(asking(fake), endpoints=endpoints)).error
            assert len(fake.requests) == 1
            await output(asking(fake, model="another"), endpoints=endpoints)
    finally:
        await endpoints.close()
    assert waits is not None
    assert waits.type == "holdfast.limited", "so that it counts as no attempt"
    assert "rate limit" in waits.message
    assert waits.details[0] == pytest.approx(60, abs=5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360.0), ("1.5s", 1.5), ("120ms", 0.12), ("1h2m3s", 3723.0), ("7", 7.0), ("soon", None), ("", None),
     ("1.2.3s", None)],
)  # fmt: skip
def test_durations_as_endpoints_write_them(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


async def test_a_bucket_refills_with_time_and_refuses_long_waits() -> None:
    now = 0.0
    bucket = Bucket(clock=lambda: now)
    headers = {
        "x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "100s",
    }  # fmt: skip
    bucket.learn(headers)
    with pytest.raises(RetryAfter, match="no room for 51 s"):
        await bucket.take(500, begun=True)
    now = 60.0
    await asyncio.wait_for(bucket.take(500, begun=True), 1)


async def test_outside_a_workflow_a_call_is_made_at_once() -> None:
    with FakeLLM("Hello!") as fake:
        assert (await llm.ask("Hi", model="m", base_url=fake.base_url)).text == "Hello!"


async def test_options_that_do_not_fit_are_refused_where_they_are_written() -> None:
    with pytest.raises(InvalidInput, match="temprature"):
        await llm.ask("Hi", model="m", temprature=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


async def test_in_a_workflow_it_is_a_step(holdfast_client: Client) -> None:
    with FakeLLM("Hello!") as fake:
        async with Worker(holdfast_client, [flows]):
            run = await holdfast_client.start(flows.ask, fake.base_url, {"params": {"seed": 1}})
            assert (await run.result()).text == "Hello!"
    assert [step.name for step in (await run.describe()).steps] == ["executor:llm"]


async def test_a_failed_call_fails_its_run_with_what_the_endpoint_said(holdfast_client: Client) -> None:
    with FakeLLM(LLMFault.quota_exhausted()) as fake:
        async with Worker(holdfast_client, [flows]):
            with pytest.raises(RunFailed, match="exceeded your current quota"):
                await holdfast_client.run(flows.ask, fake.base_url, {})
        assert len(fake.requests) == 1
