"""What a worker does, as figures and as metrics."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.common import MetricMeter
from tests.engine.support import eventually

from holdfast import Client, InvalidConfiguration, Permanent, Worker, step, workflow
from holdfast.engine.telemetry.figures import Figures
from holdfast.engine.telemetry.metrics import MAX_NAMES, Metrics, Otlp, otlp_of
from holdfast.engine.telemetry.observing import RunEnd, StepEnd


def step_end(**given: Any) -> StepEnd:
    end = {
        "step": "a",
        "queue": "q",
        "outcome": "completed",
        "attempt": 1,
        "seconds": 0.1,
        "wait_seconds": 0.01,
    }
    return StepEnd(**{**end, **given})


RUN_END = RunEnd(
    workflow="w",
    run_id="r",
    execution_id="e",
    outcome="completed",
    started=datetime(2026, 1, 1, tzinfo=UTC),
    seconds=1.0,
    error_type=None,
    trace=None,
)


def test_rates_and_latencies_are_those_of_the_last_ten_seconds() -> None:
    now = 100.0
    figures = Figures(10, clock=lambda: now)
    for number in range(100):
        figures.step_began("q")
        figures.step_ended(
            step_end(seconds=(number + 1) / 100, outcome="failed" if number < 3 else "completed")
        )
    figures.step_began("q")
    figures.run_ended(RUN_END)
    now = 110.0 - 0.001
    seen = figures.now()
    assert (seen.steps_per_second, seen.runs_per_second) == (
        pytest.approx(10, rel=0.01),
        pytest.approx(0.1, rel=0.01),
    )
    assert (seen.p50_ms, seen.p95_ms) == (pytest.approx(510), pytest.approx(960))
    assert (seen.failed_count, seen.slots_used, seen.slots_count) == (3, 1, 10)
    assert seen.lag_ms == pytest.approx(10)
    assert seen.memory_bytes > 1_000_000
    now = 200.0
    later = figures.now()
    assert (later.steps_per_second, later.p95_ms, later.steps_count, later.runs_count) == (0, 0, 100, 1)


def test_series_are_bounded() -> None:
    seen: set[str] = set()

    class Series:
        def with_additional_attributes(self, attributes: dict[str, str]) -> Series:
            seen.update(value for name, value in attributes.items() if name in ("step", "workflow"))
            return self

        def record(self, *_: Any) -> None: ...

        add = set = record

    class Meter:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: Series()

    meter: MetricMeter = Meter()  # type: ignore[assignment]
    metrics = Metrics(meter)
    for number in range(MAX_NAMES * 2):
        metrics.step_began("q")
        metrics.step_ended(step_end(step=f"step-{number}"))
    assert len(seen) == MAX_NAMES + 1
    assert "other" in seen


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, None),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"},
            Otlp(url="http://c:4318/v1/metrics", headers=(), http=True),
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_HEADERS": "key=a%20b, other=c",
            },
            Otlp(url="http://c:4317", headers=(("key", "a b"), ("other", "c")), http=False),
        ),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m/x"},
            Otlp(url="http://m/x", headers=(), http=True),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "none"}, None),
    ],
)
def test_opentelemetrys_variables_say_where_metrics_go(
    variables: dict[str, str], wanted: Otlp | None
) -> None:
    assert otlp_of(variables) == wanted


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


@step
async def pick(order: str) -> str:
    if order == "bad":
        raise Permanent("no such order")
    return order


@workflow
async def picks(order: str) -> str:
    return await pick(order)


async def test_one_port_serves_temporals_metrics_and_ours() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    async with (
        Client.embedded(None, metrics=address) as client,
        Worker(client, [picks], max_steps=7) as worker,
    ):
        assert await client.run(picks, "o1") == "o1"
        with pytest.raises(Exception, match="no such order"):
            await client.run(picks, "bad")

        async def served() -> str:
            text = await asyncio.to_thread(fetched, f"http://{address}/metrics")
            return text if 'holdfast_run_duration_seconds_count{outcome="failed"' in text else ""

        text = await eventually(served)
        seen = worker.figures
    counts = dict(re.findall(r"^(holdfast_step_duration_seconds_count\{[^}]*\}) (\d+)$", text, re.MULTILINE))
    assert sorted((re.findall(r'outcome="(\w+)"', name)[0], count) for name, count in counts.items()) == [
        ("completed", "1"),
        ("failed", "1"),
    ]
    assert all('step="pick"' in name for name in counts)
    for name in (
        "holdfast_step_wait_seconds_bucket",
        "holdfast_steps_running",
        "temporal_worker_task_slots_used",
    ):
        assert name in text
    assert (seen.steps_count, seen.failed_count, seen.runs_count, seen.slots_count) == (2, 1, 2, 7)
    assert seen.p95_ms > 0

    # The port stays this process's, and another address cannot be just anything.
    with pytest.raises(InvalidConfiguration, match="write host:port"):
        await Client.embedded(None, metrics="nonsense")
