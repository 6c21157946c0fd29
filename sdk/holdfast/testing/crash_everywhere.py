"""`crash_everywhere`: does a workflow end in the same way wherever its worker dies?"""

from __future__ import annotations

import asyncio
import inspect
import re
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar, TypeVarTuple

from temporalio.client import Client as TemporalClient

from holdfast.authoring.registry import registry
from holdfast.client.client import Client
from holdfast.client.run import Run
from holdfast.engine.worker import Worker
from holdfast.errors import HoldfastError, InvalidInput, RunFailed
from holdfast.testing.crashes import CrashingWorkers, CrashPoint, Moment, Watched, with_events
from holdfast.testing.memory import MemoryServer

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_ATTEMPTS: Final = re.compile(r" after \d+ attempts")
"""What a crash may change in the message of a failed run."""


@dataclass(frozen=True, kw_only=True)
class CrashDifference:
    """What was different after a crash at one point."""

    point: CrashPoint
    what: str
    """One sentence."""

    def __str__(self) -> str:
        return f"a worker that dies {self.point}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class CrashReport:
    """What came of crashing a workflow everywhere."""

    points: Sequence[CrashPoint]
    """Where its worker died, each in a run of its own."""

    unreached: Sequence[CrashPoint]
    """Points that the run, started again to crash there, did not come by: steps side by side end in another order each
    time, and tasks fall together."""

    differences: Sequence[CrashDifference]
    """What was different from the undisturbed run, in the order of the points."""

    repeated: Mapping[str, int]
    """How often calls of steps ran again since their result was lost, over all crashes. That is allowed: a step runs at
    least once until its result is recorded."""

    events: int
    """The events of the undisturbed run's history, those of its child runs included."""

    def __str__(self) -> str:
        lines = [
            f"{len(self.points)} crash points over {self.events} events, {len(self.differences)} differences; "
            f"{sum(self.repeated.values())} times a step ran again whose result was lost"
        ]
        if self.unreached:
            lines.append(f"{len(self.unreached)} points did not come by again")
        lines += [str(difference) for difference in self.differences]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    result: Any
    """None where it failed."""
    failure: str | None
    effects: Any
    watched: Watched


async def crash_everywhere(
    workflow: Callable[[*Ts], Awaitable[R]],
    /,
    *args: *Ts,
    client: Client | None = None,
    worker: Callable[[Client], Worker] | None = None,
    during: Callable[[Run[R]], Awaitable[object]] | None = None,
    effects: Callable[[str], object] | None = None,
    same: Callable[[R, R], bool] | None = None,
    check: bool = True,
    at_once: int = 20,
    timeout: timedelta = timedelta(seconds=60),
) -> CrashReport:
    """Run a workflow once undisturbed, then once for each moment in which its worker may die, and compare.

    The moments are those in which the death of a worker can make a difference: for each workflow task and each attempt
    of a step, when it has been handed out, when it is done and its report is lost, and when its report has just been
    recorded. Each boundary between two events of the history falls into one of them. Compared are the result or
    failure, which steps were called, and what `effects` reads; and no step may begin after its result was recorded.

    The worker is lost as far as one run can tell: in-flight results are lost, all that is cached of the run is dropped,
    and the run goes on from its history. The process itself stays: what your code keeps in module variables survives
    here, and does not survive a real crash.

    Args:
        workflow: A `@workflow` function or a `Dag`. Its steps run for real, some of them many times: mock those whose
            effect you do not want.
        *args: Its arguments.
        client: Of a server of your own, such as `holdfast_client`. Default: a server in memory, for this call.
        worker: Makes the worker, such as `lambda client: Worker(client, [fulfil], overrides={...})`. Default: one that
            serves the workflow and every step that the process has imported, on all their queues.
        during: What the run needs from outside, such as messages and decisions; called with each run after its start.
        effects: Reads what a run has left behind, by its id: rows, mails, payments. Async or sync. What it returns is
            compared with `==`, so leave out what differs from run to run.
        same: Compares two results. Default: `==`.
        check: Whether differences raise. Otherwise they are in the report.
        at_once: How many runs at a time.
        timeout: How long one run may take, in real time.

    Returns:
        The report.

    Raises:
        AssertionError: A run went differently; the first point is named with its event and step.
        InvalidInput: Two undisturbed runs differ already, so that comparing says nothing.

    Example:
        `await crash_everywhere(fulfil, order, effects=lambda run_id: bank.payments_of(run_id))`
    """
    async with _client(client) as connected:
        crashes = CrashingWorkers()
        host = worker(connected) if worker else Worker(connected, _served(workflow), queues=_queues(workflow))
        for native in host._workers:  # pyright: ignore[reportPrivateUsage]
            crashes.stand_in(native)
        prefix = f"crash-{uuid.uuid4().hex[:8]}"

        async def one(number: int, point: CrashPoint | None) -> _Outcome:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            watched = Watched(
                run_id=f"{prefix}-{number}",
                crash_at=point,
                stuck=lambda: loop.call_soon_threadsafe(ended.set),
            )
            crashes.watch(watched)
            try:
                run = await connected.start(workflow, *args, id=watched.run_id)
                result, failure = await _end(run, watched, ended, during, timeout)
            finally:
                crashes.forget(watched)
            read = effects(watched.run_id) if effects else None
            found = await read if inspect.isawaitable(read) else read
            return _Outcome(result=result, failure=failure, effects=found, watched=watched)

        async with host:
            base = await one(0, None)
            twin = await one(1, None)
            difference = _difference(base, twin, same)
            if difference or base.watched.broken:
                raise InvalidInput(
                    f"two runs without any crash differ: {difference or base.watched.broken}. Compare what stays the "
                    "same: with same=, with effects= that leave out the rest, or by mocks of the steps it comes from"
                )
            events, count = await _events(connected.temporal, base.watched)
            points = list(dict.fromkeys(with_events(base.watched.points, events)))
            free = asyncio.Semaphore(at_once)

            async def crashed(number: int, point: CrashPoint) -> _Outcome:
                async with free:
                    return await one(number, point)

            outcomes = await asyncio.gather(*(crashed(at + 2, point) for at, point in enumerate(points)))
    report = _report(base, points, outcomes, same, count)
    if check and report.differences:
        raise AssertionError(
            f"{report.differences[0]}\n({len(report.differences)} of {len(report.points)} crash points differ)"
        )
    return report


@asynccontextmanager
async def _client(given: Client | None) -> AsyncGenerator[Client]:
    if given is not None:
        yield given
        return
    server = MemoryServer()
    try:
        with server.client() as client:
            yield client
    finally:
        await asyncio.to_thread(server.close)


def _served(workflow: Callable[..., Any]) -> list[object]:
    from holdfast.authoring.workflow import Workflow

    return [workflow] if isinstance(workflow, Workflow) else []


def _queues(workflow: Callable[..., Any]) -> list[str]:
    options = getattr(workflow, "options", None)
    own = [getattr(options, "queue", "default")]
    return sorted({*own, *(step.options.queue for step in registry().all_steps() if step.options.queue)})


async def _end(
    run: Run[Any],
    watched: Watched,
    stuck: asyncio.Event,
    during: Callable[[Run[Any]], Awaitable[object]] | None,
    timeout: timedelta,
) -> tuple[Any, str | None]:
    """How a run ends: its result, or why it failed."""

    async def to_its_end() -> Any:
        if during is not None:
            await during(run)
        return await run.result()

    ending, broken = asyncio.create_task(to_its_end()), asyncio.create_task(stuck.wait())
    try:
        await asyncio.wait(
            [ending, broken], timeout=timeout.total_seconds(), return_when=asyncio.FIRST_COMPLETED
        )
        if ending.done() and not watched.broken:
            return ending.result(), None
        why = watched.broken or f"it did not end within {timeout.total_seconds():g} s"
        await _terminate(run)
    except RunFailed as failed:
        return None, _ATTEMPTS.sub("", failed.message.replace(run.id, "..."))
    finally:
        for task in (ending, broken):
            task.cancel()
        await asyncio.gather(ending, broken, return_exceptions=True)
    return None, f"the run cannot go on: {why}"


async def _terminate(run: Run[Any]) -> None:
    with suppress(HoldfastError):  # it may have ended just now
        await run.terminate("crash_everywhere: it cannot go on")


async def _events(temporal: TemporalClient, watched: Watched) -> tuple[dict[tuple[str, Moment], int], int]:
    """The events of the calls of steps in the histories of a run and its children, and how many events there are."""
    found: dict[tuple[str, Moment], int] = {}
    count = 0
    for execution, run_id in watched.executions.items():
        history = await temporal.get_workflow_handle(run_id, run_id=execution).fetch_history()
        count += len(history.events)
        scheduled: dict[int, str] = {}
        for event in history.events:
            if event.HasField("activity_task_scheduled_event_attributes"):
                what = watched.name(run_id, event.activity_task_scheduled_event_attributes.activity_id)
                scheduled[event.event_id] = what
            elif event.HasField("activity_task_started_event_attributes"):
                what = scheduled[event.activity_task_started_event_attributes.scheduled_event_id]
                found[what, "begins"] = found[what, "ends"] = event.event_id
                found[what, "is recorded"] = event.event_id + 1
    return found, count


def _difference(base: _Outcome, other: _Outcome, same: Callable[[Any, Any], bool] | None) -> str | None:
    """What is different between two runs, as a sentence."""
    if other.failure != base.failure:
        expected = _said(base)
        return f"{other.failure or _said(other)}, in place of: {expected}"
    if base.failure is None and not (same or _equal)(base.result, other.result):
        return f"the result is {other.result!r:.300}, in place of {base.result!r:.300}"
    if other.watched.again:
        return f"{', '.join(sorted(set(other.watched.again)))} ran again after the result had been recorded"
    calls, others = set(base.watched.calls), set(other.watched.calls)
    if others - calls:
        return f"it called {', '.join(sorted(others - calls))}, which the undisturbed run did not"
    if calls - others:
        return f"it did not call {', '.join(sorted(calls - others))}"
    if other.effects != base.effects:
        return f"the effects are {other.effects!r:.300}, in place of {base.effects!r:.300}"
    return None


def _equal(one: object, other: object) -> bool:
    return one == other


def _said(outcome: _Outcome) -> str:
    return f"the result {outcome.result!r:.300}" if outcome.failure is None else outcome.failure


def _report(
    base: _Outcome,
    points: Sequence[CrashPoint],
    outcomes: Sequence[_Outcome],
    same: Callable[[Any, Any], bool] | None,
    events: int,
) -> CrashReport:
    differences, unreached, repeated = list[CrashDifference](), list[CrashPoint](), Counter[str]()
    for point, outcome in zip(points, outcomes, strict=True):
        if not outcome.watched.crashed:
            unreached.append(point)
        difference = _difference(base, outcome, same)
        if difference is not None:
            differences.append(CrashDifference(point=point, what=difference))
        repeated += outcome.watched.calls - base.watched.calls
    return CrashReport(
        points=[point for point in points if point not in unreached],
        unreached=unreached,
        differences=differences,
        repeated=repeated,
        events=events,
    )
