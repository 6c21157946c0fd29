"""What goes wrong with endpoints, and what the llm executor makes of it: again, later, or never."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import pytest

from holdfast import Client, RunCancelled, Worker
from holdfast.testing import FakeLLM, LLMFault
from holdfast.testing.llm_answers import LLMAnswer, LLMToolCall
from holdfast_executors import llm
from holdfast_executors.llm_retry_after import LONGEST, SHORTEST, retry_after

from . import llm_flows as flows
from .llm_attempts import asking, output, postponed, refused

Api = Literal["chat", "responses"]
both = pytest.mark.parametrize("api", ["chat", "responses"])
whole_or_stream = pytest.mark.parametrize("stream", [False, True])
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def date_in(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": date_in(90)}, 90.0),
        ({"retry-after": (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S -0000")}, 90.0),
        ({"retry-after": date_in(-90)}, SHORTEST.total_seconds()),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "60"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "60"}, 60.0),
        ({"retry-after": "0"}, SHORTEST.total_seconds()),
        ({"retry-after": "999999999"}, LONGEST.total_seconds()),
        ({"retry-after": date_in(10**7)}, LONGEST.total_seconds()),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "in a while"}, None),
        ({"retry-after": "Fri, 99 Foo 2026"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_every_form_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    found = retry_after(headers, NOW.timestamp())
    assert (found.total_seconds() if found else None) == seconds


@both
@whole_or_stream
async def test_the_next_attempt_comes_when_the_endpoint_says(api: Api, stream: bool) -> None:
    with FakeLLM(LLMFault.rate_limited("3"), LLMFault.rate_limited(retry_after_ms="250")) as fake:
        said, delay = await postponed(asking(fake, api=api, stream=stream))
        assert (delay, "429" in said, "Rate limit reached" in said) == (3.0, True, True)
        assert (await postponed(asking(fake, api=api, stream=stream)))[1] == 0.25


async def test_nonsense_in_retry_after_leaves_the_retry_policy_to_decide() -> None:
    with FakeLLM(LLMFault.rate_limited("presently"), LLMFault.rate_limited()) as fake:
        for _ in range(2):
            said, delay = await postponed(asking(fake))
            assert (said.split(":")[0], delay) == ("Unavailable", None)


@both
@whole_or_stream
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (LLMFault.quota_exhausted(), "current quota"),
        (LLMFault.context_length(), "maximum context length"),
        (LLMFault.content_filter(), "content management policy"),
        (LLMFault.unauthorised(), "Incorrect API key"),
        (LLMFault.forbidden(), "not allowed"),
        (LLMFault.no_such_model(), "does not exist"),
        (LLMFault.error(400, "Unsupported parameter: 'seed'."), "Unsupported parameter"),
        (LLMFault.error(404, "Unknown request URL.", code="unknown_url"), "Unknown request URL"),
        (LLMFault(status=302, headers={"location": "http://127.0.0.1:9/"}), "302"),
    ],
)
async def test_what_waiting_does_not_help_is_not_tried_again(
    api: Api, stream: bool, fault: LLMFault, says: str
) -> None:
    with FakeLLM(fault) as fake:
        assert says in await refused(asking(fake, api=api, stream=stream))
        assert len(fake.requests) == 1


@both
@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 529])
async def test_errors_of_the_server_are_tried_again(api: Api, status: int) -> None:
    with FakeLLM(LLMFault.server_error(status)) as fake:
        said, _ = await postponed(asking(fake, api=api))
        assert str(status) in said
        assert len(fake.requests) == 1, "the client itself tries nothing again"


@both
@whole_or_stream
@pytest.mark.parametrize(
    "fault",
    [LLMFault.empty(), LLMFault.html(), LLMFault.wrong_shape(), LLMFault.truncated(), LLMFault.cut(), LLMFault.reset()],
    ids=["empty", "html", "wrong shape", "truncated", "cut", "reset"],
)  # fmt: skip
async def test_what_is_no_answer_is_tried_again(api: Api, stream: bool, fault: LLMFault) -> None:
    with FakeLLM(fault) as fake:
        await postponed(asking(fake, api=api, stream=stream))
        assert len(fake.requests) == 1
        assert (await output(asking(fake, api=api, stream=stream))).finish_reason == "stop"


@both
@whole_or_stream
async def test_an_endpoint_that_never_answers_is_given_up_in_time(api: Api, stream: bool) -> None:
    with FakeLLM(LLMFault.hang()) as fake:
        said, _ = await postponed(asking(fake, api=api, stream=stream, seconds=0.3))
    assert "did not answer" in said


async def test_an_endpoint_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        config = {"model": "m", "prompt": "Hi", "base_url": f"http://127.0.0.1:{port}/v1"}
        said, _ = await postponed(config)
    assert "cannot be reached" in said


@asynccontextmanager
async def trickling(head: bytes, piece: bytes, seconds: float) -> AsyncGenerator[str]:
    """An endpoint that sends a piece, waits, and so on for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        try:
            while True:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(seconds)
        except (ConnectionError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_an_endpoint_that_sends_a_byte_now_and_then_is_given_up_in_time() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
    async with trickling(head, b" ", 0.05) as base_url:
        said, _ = await postponed({"model": "m", "prompt": "Hi", "base_url": base_url, "seconds": 0.5})
    assert "within 0.5 s" in said


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    async with trickling(head, b" " * 1024 * 1024, 0) as base_url:
        said = await refused({"model": "m", "prompt": "Hi", "base_url": base_url})
    assert "more than the 32 MiB" in said


@both
@whole_or_stream
async def test_an_answer_of_5_mb_is_refused_with_what_it_cost(api: Api, stream: bool) -> None:
    with FakeLLM(LLMAnswer("word " * 1_000_000)) as fake:
        said = await refused(asking(fake, api=api, stream=stream))
    assert "5,000,000 characters" in said
    assert "tokens" in said


async def test_arguments_of_5_mb_are_refused_too() -> None:
    with FakeLLM(LLMAnswer(tool_calls=[LLMToolCall(name="a", arguments="x" * 5_000_000)])) as fake:
        assert "5,000,000 characters" in await refused(asking(fake, tools=[{"name": "a"}]))


@both
@whole_or_stream
async def test_a_refusal_is_for_good_and_says_why(api: Api, stream: bool) -> None:
    with FakeLLM(LLMAnswer(refusal="I cannot help with that.")) as fake:
        assert "I cannot help with that." in await refused(asking(fake, api=api, stream=stream))


@both
@whole_or_stream
async def test_a_filtered_answer_is_for_good(api: Api, stream: bool) -> None:
    with FakeLLM(LLMAnswer("half a", finish_reason="content_filter")) as fake:
        assert "content filter" in await refused(asking(fake, api=api, stream=stream))


@both
@whole_or_stream
async def test_an_answer_that_was_cut_off_by_its_limit_is_handed_on_and_says_so(
    api: Api, stream: bool
) -> None:
    with FakeLLM(LLMAnswer("half a", finish_reason="length")) as fake:
        said = await output(asking(fake, api=api, stream=stream))
    assert (said.text, said.finish_reason) == ("half a", "length")


async def begun(fake: FakeLLM) -> None:
    async with asyncio.timeout(10):
        while not fake.polls_count:  # noqa: ASYNC110 - the endpoint tells nobody else
            await asyncio.sleep(0.01)


async def test_a_response_that_somebody_cancelled_is_for_good() -> None:
    with FakeLLM(LLMAnswer("a", latency=timedelta(seconds=60))) as fake:
        asked = asyncio.create_task(refused(asking(fake, api="responses", background=True)))
        await begun(fake)
        fake.look_up("resp_000001", cancel=True)
        assert "the response is cancelled" in await asked


async def test_a_response_that_the_endpoint_forgot_is_begun_anew(holdfast_client: Client) -> None:
    with FakeLLM(LLMAnswer("a", latency=timedelta(seconds=60)), "b") as fake:
        async with Worker(holdfast_client, [flows]):
            run = await holdfast_client.start(
                flows.ask, fake.base_url, {"api": "responses", "background": True}
            )
            await begun(fake)
            assert fake.forget("resp_000001")
            assert (await run.result()).text == "b"
        assert len(fake.requests) == 2


SLOW = LLMAnswer("late", latency=timedelta(seconds=60))
BEHIND = {"api": "responses", "background": True}


def status_of(fake: FakeLLM) -> str:
    found = fake.look_up("resp_000001", cancel=False)
    assert found is not None
    return str(found["status"])


async def test_a_run_that_is_cancelled_cancels_its_response_in_the_background(
    holdfast_client: Client,
) -> None:
    with FakeLLM(SLOW) as fake:
        async with Worker(holdfast_client, [flows]):
            run = await holdfast_client.start(flows.ask, fake.base_url, BEHIND)
            await begun(fake)
            await run.cancel()
            with pytest.raises(RunCancelled):
                await run.result()
            assert status_of(fake) == "cancelled"
        assert len(fake.requests) == 1


async def test_a_worker_that_stops_leaves_the_response_to_the_next_attempt(holdfast_client: Client) -> None:
    with FakeLLM(LLMAnswer("late", latency=timedelta(seconds=4))) as fake:
        async with Worker(holdfast_client, [flows], drain=timedelta(milliseconds=50)):
            run = await holdfast_client.start(flows.ask, fake.base_url, BEHIND)
            await begun(fake)
        assert status_of(fake) != "cancelled"
        async with Worker(holdfast_client, [flows]):
            assert (await run.result()).text == "late"
        assert len(fake.requests) == 1


async def test_a_call_outside_of_a_run_that_is_cancelled_cancels_its_response_too() -> None:
    with FakeLLM(SLOW) as fake:
        asked = asyncio.create_task(
            llm.ask("Hi", model="m", base_url=fake.base_url, api="responses", background=True)
        )
        await begun(fake)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert status_of(fake) == "cancelled"


async def test_a_response_that_takes_too_long_is_not_cancelled_since_the_next_attempt_fetches_it() -> None:
    with FakeLLM(SLOW) as fake:
        await postponed(asking(fake, seconds=0.8, **BEHIND))
        assert status_of(fake) != "cancelled"


@pytest.mark.parametrize("hangs", [True, False])
async def test_an_endpoint_that_does_not_cancel_holds_nothing_up(
    hangs: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("holdfast_executors.llm_send._CANCEL_SECONDS", 0.3)
    with FakeLLM(SLOW) as fake:
        asked = asyncio.create_task(
            llm.ask("Hi", model="m", base_url=fake.base_url, api="responses", background=True)
        )
        await begun(fake)
        look_up = fake.look_up

        def stubborn(response_id: str, *, cancel: bool) -> dict[str, Any] | None:
            if cancel and hangs:
                fake.closing.wait()
            return None if cancel else look_up(response_id, cancel=False)

        monkeypatch.setattr(fake, "look_up", stubborn)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asked, 10)
    assert "not wanted any more" in caplog.text
