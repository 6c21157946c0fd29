"""Spans of the calls that executors make."""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest
from opentelemetry import propagate as propagate
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.executors.llm_attempts import asking, output
from tests.telemetry.collector import service

from holdfast.redaction import Redactor, redacting_logs
from holdfast.testing import FakeLLM, override
from holdfast.tracing import outgoing
from holdfast_executors.http_client import HttpClient
from holdfast_executors.http_guard import Guard, parse_allowed
from holdfast_executors.http_request import Http, HttpConfig, open_client


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Generator[InMemorySpanExporter]:
    """What a program that traces by itself gets."""
    provider, made = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(made))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield made
    provider.shutdown()


def ended(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in spans.get_finished_spans() if span.name == name]
    return found


async def test_a_model_is_asked_under_the_names_of_the_genai_conventions(spans: InMemorySpanExporter) -> None:
    with FakeLLM("A secret answer") as fake, trace.get_tracer("t").start_as_current_span("step"):
        await output(asking(fake, prompt="A secret question", params={"temperature": 0.5}))
    span = ended(spans, "chat m")
    told = dict(span.attributes or {})
    assert span.kind == trace.SpanKind.CLIENT
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "m"
    assert told["gen_ai.request.temperature"] == 0.5
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert told["gen_ai.response.id"]
    assert isinstance(told["gen_ai.usage.input_tokens"], int)
    assert isinstance(told["gen_ai.usage.output_tokens"], int)
    assert told["server.address"] == "127.0.0.1"
    assert span.parent is not None
    # Neither what was asked nor what was said.
    assert "secret" not in json.dumps([one.to_json() for one in spans.get_finished_spans()])


async def test_a_service_that_refuses_marks_the_span(spans: InMemorySpanExporter) -> None:
    with service() as (port, headers):
        client = HttpClient(Guard(parse_allowed(f"127.0.0.1:{port}")))
        with override({open_client: client}), trace.get_tracer("t").start_as_current_span("step"):
            config = HttpConfig(url=f"http://127.0.0.1:{port}/missing?key=1", success_status=["4xx"])
            await Http.call(config)
        await client.web.aclose()
    span = ended(spans, "GET")
    assert span.status.status_code == trace.StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "404"
    assert headers[0]["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"


async def test_a_header_of_the_config_wins(spans: InMemorySpanExporter) -> None:
    mine = "00-11111111111111111111111111111111-2222222222222222-01"
    with service() as (port, headers):
        client = HttpClient(Guard(parse_allowed(f"127.0.0.1:{port}")))
        with override({open_client: client}), trace.get_tracer("t").start_as_current_span("step"):
            await Http.call(HttpConfig(url=f"http://127.0.0.1:{port}/", headers={"Traceparent": mine}))
        await client.web.aclose()
    assert headers[0]["traceparent"] == mine
    assert ended(spans, "GET")


def test_secrets_are_hidden_in_attributes(spans: InMemorySpanExporter) -> None:
    redactor = Redactor()
    redactor.add("hunter2-hunter2")
    with (
        redacting_logs(redactor),
        trace.get_tracer("t").start_as_current_span("step"),
        outgoing("GET", {"url.full": "http://h/hunter2-hunter2/x"}) as call,
    ):
        call.set({"more": "hunter2-hunter2"})
    assert dict(ended(spans, "GET").attributes or {}) == {"url.full": "http://h/***/x", "more": "***"}


def test_without_a_current_span_nothing_is_made(spans: InMemorySpanExporter) -> None:
    with outgoing("GET", {"url.full": "http://h/"}) as call:
        assert call.headers == {}
        assert not call.is_traced
    assert spans.get_finished_spans() == ()
