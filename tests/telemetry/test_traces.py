"""One trace from the client through run and step to the header that a service gets, also when a worker is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.engine.support import until
from tests.telemetry.collector import Collector, Span, collector, service

from holdfast.engine import embedded

ROOT = Path(__file__).parents[2]


@dataclass(kw_only=True)
class Scene:
    """A home, a collector, and processes that send to it."""

    home: Path
    collector: Collector
    url: str
    headers: list[dict[str, str]]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def process(self, *arguments: str, traced: bool = True, **extra: str) -> subprocess.Popen[bytes]:
        """Start one; see `host.py`."""
        kind, *rest = arguments
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "HOLDFAST_HTTP_ALLOW": self.url.removeprefix("http://").partition("/")[0],
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            **({"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url} if traced else {}),
            **extra,
        }
        log = (self.home.parent / f"{len(self.processes)}.log").open("wb")
        command = [sys.executable, "-m", "tests.telemetry.host", kind, str(self.home), *rest]
        started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        log.close()
        self.processes.append(started)
        return started

    async def worker(self, *arguments: str, **extra: str) -> subprocess.Popen[bytes]:
        """One that serves."""
        number, started = len(self.processes), self.process("worker", *arguments, **extra)
        await until(lambda: "serving" in self.said(number) or started.poll() is not None, 40)
        assert started.poll() is None, self.said(number)
        return started

    def said(self, number: int) -> str:
        """What a process has printed."""
        return (self.home.parent / f"{number}.log").read_text("utf-8")

    async def starts(self, *arguments: str, traced: bool = True) -> str:
        """Start a run and wait for it; what came of it."""
        number, started = len(self.processes), self.process("start", *arguments, traced=traced)
        await until(lambda: started.poll() is not None, 60)
        return self.said(number).strip().splitlines()[-1]

    async def spans(self, wanted: Callable[[list[Span]], object]) -> list[Span]:
        """What the collector has, once it is enough."""
        await until(lambda: wanted(self.collector.spans), 20)
        return self.collector.spans


@pytest.fixture
def scene(tmp_path: Path) -> Generator[Scene]:
    with collector() as found, service() as (port, headers):
        url = f"http://127.0.0.1:{port}/van?key=hunter2"
        made = Scene(home=tmp_path / ".holdfast", collector=found, url=url, headers=headers)
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.wait()
            asyncio.run(embedded.stop(made.home))


def tree(spans: list[Span]) -> dict[str, str]:
    """The name of each span's parent; `-` for the first one, `?` where the parent is missing."""
    names = {span.span_id: span.name for span in spans}
    return {span.name: names.get(span.parent_id, "?") if span.parent_id else "-" for span in spans}


async def test_a_trace_outlives_a_killed_worker(scene: Scene, tmp_path: Path) -> None:
    first, mark = await scene.worker(), tmp_path / "mark"
    client = scene.process("start", "sells", "order-1", "o1", scene.url, str(mark))
    await until(mark.exists, 30)
    await scene.spans(lambda spans: any(span.name == "step prepare" for span in spans))
    first.send_signal(signal.SIGKILL)
    first.wait()
    await scene.worker()
    await until(lambda: client.poll() is not None, 60)
    spans = await scene.spans(lambda spans: any(span.name == "run sells" for span in spans))
    await scene.spans(lambda spans: any(span.name == "step http" for span in spans))
    assert len({span.trace_id for span in spans}) == 1
    assert tree(spans) == {
        "start sells": "-",
        "run sells": "start sells",
        "step prepare": "run sells",
        "step hang_once": "run sells",
        "step http": "run sells",
        "GET": "step http",
    }
    (hung,) = scene.collector.named("step hang_once")  # what the killed worker had not ended is not sent
    assert hung.attributes["holdfast.attempt"] == 2
    (called,) = scene.collector.named("GET")
    (header,) = scene.headers
    assert header["traceparent"] == f"00-{called.trace_id}-{called.span_id}-01"
    assert called.attributes["url.full"] == scene.url.partition("?")[0]
    assert called.attributes["http.response.status_code"] == 200
    (run,) = scene.collector.named("run sells")
    assert run.attributes["temporalWorkflowID"] == "order-1"
    assert run.nanoseconds > hung.nanoseconds
    assert run.service == "holdfast"


async def test_children_new_beginnings_and_failures_are_in_their_traces(scene: Scene) -> None:
    await scene.worker()
    # These were started by somebody who does not trace.
    assert await scene.starts("outer", "plain", "o1", traced=False) == "o1"
    spans = await scene.spans(lambda spans: any(span.name == "run outer" for span in spans))
    assert tree(spans) == {"run outer": "-", "run inner": "run outer", "step prepare": "run inner"}
    assert len({span.trace_id for span in spans}) == 1

    scene.collector.spans.clear()
    assert await scene.starts("turns", "turning", "o1", "2", traced=False) == "o1"
    spans = await scene.spans(lambda spans: sum(span.name == "run turns" for span in spans) == 3)
    assert len({span.trace_id for span in spans}) == 1
    outcomes = [span.attributes["holdfast.outcome"] for span in scene.collector.named("run turns")]
    assert sorted(outcomes) == ["completed", "continued", "continued"]

    # What fails is marked.
    assert await scene.starts("refuses", "refused", "o1") == "RunFailed"
    spans = await scene.spans(lambda spans: any(span.name == "run refuses" for span in spans))
    marked = {span.name: (span.is_error, span.attributes.get("error.type")) for span in spans}
    assert marked["step refuse"] == (True, "Permanent")
    assert marked["run refuses"] == (True, "StepFailed")
    assert marked["start refuses"] == (False, None)


async def test_without_a_collector_work_goes_on(scene: Scene, tmp_path: Path) -> None:
    (mark := tmp_path / "mark").write_text("")
    await scene.worker(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert await scene.starts("sells", "order-1", "o1", scene.url, str(mark), traced=False) == "o1"
    worker = scene.processes[0]
    worker.terminate()
    await until(lambda: worker.poll() is not None, 40)
    assert worker.returncode == 0


async def test_what_is_not_sampled_is_not_sent_and_services_are_told(scene: Scene, tmp_path: Path) -> None:
    (mark := tmp_path / "mark").write_text("")
    await scene.worker(OTEL_TRACES_SAMPLER="always_off")
    assert await scene.starts("sells", "order-1", "o1", scene.url, str(mark), traced=False) == "o1"
    scene.processes[0].terminate()
    await until(lambda: scene.processes[0].poll() is not None, 40)
    assert scene.collector.spans == []
    (header,) = scene.headers
    assert header["traceparent"].endswith("-00")
