"""The demo: a weather report whose worker is killed, an order whose payment fails, a briefing from a document."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import sysconfig
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast import Client, InvalidConfiguration, NotFound, Run, RunClosed, RunFailed, StepState
from holdfast.client.description import WaitDescription
from holdfast.settings import load
from holdfast.testing import FakeLLM
from holdfast_server.demo import evidence, ledger
from holdfast_server.demo.processes import WorkerProcess
from holdfast_server.demo.report import Report
from holdfast_server.demo.worker import QUEUE, import_examples

JQ = sys.platform != "win32"
"""Whether there is a jq for this platform; without it the briefing is left out."""

NEEDED = ("matplotlib", "httpx", "openai", *(["jq"] if JQ else []))
"""Packages that the extra `demo` brings."""

OUTPUT = ledger.LEDGER.parent
SAMPLES = 40_000
"""Bootstrap samples per year: a second or two of computing, so that there is a step to kill."""

KILL_SECONDS = 60.0
RUN_SECONDS = 75.0
SETTLED_SECONDS = 0.3
"""The kill waits this long after the last end or start of a step, so that the server has heard of it."""

POLL_SECONDS = 0.05


class DemoFailed(Exception):
    """The demo could not show what it is there to show."""


def find_examples() -> Path:
    """The examples of the checkout, else those that were installed with the package.

    Raises:
        NotFound: There are neither.
    """
    checkout = Path(__file__).parents[3] / "examples"
    installed = Path(sysconfig.get_path("data")) / "share" / "holdfast" / "examples"
    for folder in (checkout, installed):
        if (folder / "weather.py").is_file():
            return folder
    raise NotFound(f"the examples are neither in {checkout} nor in {installed}")


async def run_demo(*, home: Path | None = None, examples: Path | None = None) -> int:
    """Run the flows and print what happened.

    Args:
        home: Where the embedded server keeps its data. Default: as for `Client.embedded()`.
        examples: The folder of the examples. Default: those of the checkout or of the installation.

    Returns:
        The exit code: 0 when everything that the demo shows came true, else 1.

    Raises:
        InvalidConfiguration: A package that the demo needs is missing.
        Unavailable: The server does not start.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidConfiguration(f"the demo needs {' and '.join(missing)}: pip install 'holdfast[demo]'")
    report, folder = Report(), (examples or find_examples()).resolve()
    (weather, orders, briefing) = import_examples(folder)
    with report.progress("starting the server"):
        client = await Client.embedded(home or "")
    try:
        place = _home(client)
        report.place(client)
        await _weather(client, folder, weather, report)
        await _order(client, folder, orders, report)
        if JQ:
            await _briefing(client, folder, briefing, report)
    except DemoFailed as error:
        report.failed(str(error))
        return 1
    finally:
        await client.close()
    report.goodbye(place if place != load().home else None)
    return 0


async def _weather(client: Client, folder: Path, example: Any, report: Report) -> None:
    data = folder / "data" / "seattle-weather.csv"
    run: Run[str] = await client.start(example.weather, data, OUTPUT.resolve(), SAMPLES, queue=QUEUE)
    report.chapter("A weather report whose worker is killed", run.id)
    async with _ended(run):
        with WorkerProcess(_home(client), folder, OUTPUT / "worker.log") as first:
            with report.progress(f"worker {first.pid} is at work"):
                await _until(lambda: _worth_killing(run.id, first.pid), first, KILL_SECONDS)
            killed_at = time.time()
            first.kill()
            cut_off = ledger.running(ledger.read(ledger.LEDGER, run.id), first.pid)
            if not cut_off:
                raise DemoFailed(f"the kill of worker {first.pid} hit no running step")
            report.killed(cut_off, await run.describe(), first.exit_code)
        with WorkerProcess(_home(client), folder, OUTPUT / "worker.log") as second:
            report.replaced(second.pid, await run.describe())
            summary = await _finish(run, second, report)
    described, entries = await run.describe(), ledger.read(ledger.LEDGER, run.id)
    steps = evidence.gather(described, entries)
    report.began_again(steps, killed_at)
    report.steps(steps)
    _believe(evidence.doubts(described, entries))
    report.once(described, steps)
    if not any(step.lost and step.done and step.described.attempt > 1 for step in steps):
        raise DemoFailed("no step was cut off and completed later, so the kill has shown nothing")
    report.result(summary, OUTPUT / "weather.png")


async def _order(client: Client, folder: Path, example: Any, report: Report) -> None:
    order = example.Order(number="A-2", item="raincoat", price=89, card="0002")
    run: Run[str] = await client.start(example.fulfil, order, queue=QUEUE)
    report.chapter("An order whose payment fails", run.id)
    async with _ended(run):
        with WorkerProcess(_home(client), folder, OUTPUT / "worker.log") as worker, suppress(RunFailed):
            await _finish(run, worker, report)
            raise DemoFailed(f"the payment of run {run.id} should have failed")
    described, entries = await run.describe(), ledger.read(ledger.LEDGER, run.id)
    steps = evidence.gather(described, entries)
    report.steps(steps)
    _believe(evidence.doubts(described, entries))
    undone = [step for step in steps if step.described.state is StepState.COMPENSATED]
    if not undone:
        raise DemoFailed(f"no step of run {run.id} was compensated")
    report.undone(described, undone)


async def _briefing(client: Client, folder: Path, example: Any, report: Report) -> None:
    file = OUTPUT.resolve() / "briefing.md"
    file.unlink(missing_ok=True)
    with example.weather_service() as service, FakeLLM() as llm:
        llm.rule(".*", example.answer)
        given = {"service": f"http://{service}", "llm": llm.base_url, "output": str(file)}
        run: Run[str] = await client.start(example.briefing, given, queue=QUEUE)
        report.chapter("A briefing from a document", run.id)
        async with _ended(run):
            with WorkerProcess(_home(client), folder, OUTPUT / "worker.log", http_allow=service) as worker:
                asked = await _asked(run, worker, report)
                delivery = await client.approvals.decide(run.id, asked.name, approved=True, by="the demo")
                report.approved(asked, delivery)
                await _finish(run, worker, report)
    described, text = await run.describe(), file.read_text("utf-8")
    report.nodes(described)
    own = replace(described, steps=[step for step in described.steps if step.name == "write_briefing"])
    _believe(evidence.doubts(own, ledger.read(ledger.LEDGER, run.id)))
    headline = text.splitlines()[0].removeprefix("# ")
    if headline not in (asked.prompt or ""):
        raise DemoFailed(f"{file} has the headline {headline!r}, but {asked.prompt!r} was approved")
    report.fetched(described, len(llm.requests))
    report.written(OUTPUT / file.name, text, await run.diagram())


@asynccontextmanager
async def _ended(run: Run[str]) -> AsyncGenerator[None, None]:
    """Leave no open run behind when the demo ends early: the next demo's worker would take it up."""
    try:
        yield
    except BaseException:
        with suppress(RunClosed):
            await run.terminate("the demo ended early")
        raise


def _worth_killing(run_id: str, pid: int) -> bool:
    """Whether an analysis has ended, another one is in its middle, and the server knows about both."""
    entries = ledger.read(ledger.LEDGER, run_id)
    ended = any(entry.step == "analyse" and entry.event == "end" for entry in entries)
    settled = bool(entries) and time.time() - entries[-1].at > SETTLED_SECONDS
    return ended and settled and bool(ledger.running(entries, pid))


async def _until(reached: Callable[[], bool], worker: WorkerProcess, seconds: float) -> None:
    """Wait for a moment; give up when the worker ends by itself or time is up. The caller checks what is true."""
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        if worker.exit_code is not None:
            raise DemoFailed(f"worker {worker.pid} ended with {worker.exit_code}; its log is {worker.log}")
        await asyncio.sleep(POLL_SECONDS)


async def _finish(run: Run[str], worker: WorkerProcess, report: Report) -> str:
    """The run's result; shows its progress meanwhile.

    Raises:
        RunFailed: It failed.
        DemoFailed: It did not end in time, or the worker ended.
    """
    result = asyncio.ensure_future(run.result())
    with report.progress("waiting for the run") as say:
        end = time.monotonic() + RUN_SECONDS
        while not result.done():
            if worker.exit_code is not None or time.monotonic() > end:
                result.cancel()
                raise await _stuck(run, worker)
            say(await run.describe())
            await asyncio.wait([result], timeout=0.5)
    return await result


async def _asked(run: Run[str], worker: WorkerProcess, report: Report) -> WaitDescription:
    """The approval that the run waits for, once it does.

    Raises:
        DemoFailed: It ended or asked for nothing in time, or the worker ended.
    """
    with report.progress("waiting for the question") as say:
        end = time.monotonic() + RUN_SECONDS
        while worker.exit_code is None and time.monotonic() < end:
            described = await run.describe()
            if described.waits:
                return described.waits[0]
            if described.state.closed:
                break
            say(described)
            await asyncio.sleep(POLL_SECONDS)
    raise await _stuck(run, worker)


async def _stuck(run: Run[str], worker: WorkerProcess) -> DemoFailed:
    described = await run.describe()
    return DemoFailed(
        f"run {run.id} is {described.state.value}: "
        f"{described.stuck or described.error or described.waiting_for}; the worker's log is {worker.log}"
    )


def _believe(found: list[str]) -> None:
    if found:
        raise DemoFailed("; ".join(found))


def _home(client: Client) -> Path:
    assert client.home is not None  # the demo's server always keeps its data
    return client.home
