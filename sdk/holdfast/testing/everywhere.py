"""What `crash_everywhere` and `cancel_everywhere` share: a run undisturbed, then one for each of its moments."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from temporalio.client import WorkflowHistory

from holdfast.authoring.registry import registry
from holdfast.client.client import Client
from holdfast.client.run import Run
from holdfast.engine.worker import Worker
from holdfast.errors import HoldfastError, RunCancelled, RunFailed
from holdfast.testing.crashes import CrashingWorkers, CrashPoint, Moment, Watched, with_events
from holdfast.testing.memory import MemoryServer

End = Literal["completed", "cancelled", "failed"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one run ended."""

    result: Any
    """None where it did not complete."""

    failure: str | None
    """None where it completed."""

    end: End | None
    """None where it could not go on, which `failure` says."""

    effects: Any
    watched: Watched


class Stage:
    """A server and workers on which a workflow is run again and again.

    Args:
        client: Of the server.
        host: The worker; it does not run yet.
        workflow: The workflow.
        args: Its arguments.
        during: What each run needs from outside.
        effects: Reads what a run has left behind.
        do: What happens to a run at its moment; None: it loses its worker.
        timeout: How long one run may take, in real time.
    """

    def __init__(
        self,
        client: Client,
        host: Worker,
        workflow: Callable[..., Any],
        args: Sequence[Any],
        *,
        during: Callable[[Run[Any]], Awaitable[object]] | None,
        effects: Callable[[str], object] | None,
        do: Callable[[str], Awaitable[object]] | None,
        timeout: timedelta,
    ) -> None:
        self.client, self.host = client, host
        self._workflow, self._args, self._during, self._effects = workflow, args, during, effects
        self._do, self._timeout = do, timeout
        self._began = time.monotonic()
        self._prefix = f"crash-{uuid.uuid4().hex[:8]}"
        self._count = 0
        self._crashes = CrashingWorkers()
        for native in host._workers:  # pyright: ignore[reportPrivateUsage]
            self._crashes.stand_in(native)

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began

    async def play(self, point: CrashPoint | None = None, *, at_start: bool = False) -> Outcome:
        """One run, with what happens at one point, or at once."""
        news = asyncio.Event()
        loop = asyncio.get_running_loop()
        run_id = f"{self._prefix}-{self._count}"
        self._count += 1
        do = self._do
        watched = Watched(
            run_id=run_id,
            crash_at=point,
            tell=lambda: loop.call_soon_threadsafe(news.set),
            do=partial(do, run_id) if do is not None else None,
        )
        self._crashes.watch(watched)
        try:
            run: Run[Any] = await self.client.start(self._workflow, *self._args, id=run_id)
            if at_start and do is not None:
                watched.crashed = True
                await do(run_id)
            end, result, failure = await _end(run, watched, news, self._during, self._timeout)
        finally:
            self._crashes.forget(watched)
        read = self._effects(run_id) if self._effects else None
        found = await read if inspect.isawaitable(read) else read
        return Outcome(result=result, failure=failure, end=end, effects=found, watched=watched)

    async def points(self, base: Outcome) -> tuple[list[CrashPoint], int]:
        """The points of an undisturbed run with their events, and how many events there are."""
        events, count = _events(base.watched, await self.histories(base))
        return list(dict.fromkeys(with_events(base.watched.points, events))), count

    async def play_all(self, points: Sequence[CrashPoint], at_once: int) -> list[Outcome]:
        """One run for each point, so many at a time."""
        free = asyncio.Semaphore(at_once)

        async def play(point: CrashPoint) -> Outcome:
            async with free:
                return await self.play(point)

        return await asyncio.gather(*map(play, points))

    async def histories(self, outcome: Outcome) -> list[WorkflowHistory]:
        """Of a run, its children, and the parts of either."""
        executions = outcome.watched.executions.items()
        return [
            await self.client.temporal.get_workflow_handle(run_id, run_id=execution).fetch_history()
            for execution, run_id in executions
        ]


@asynccontextmanager
async def staged(
    workflow: Callable[..., Any],
    args: Sequence[Any],
    *,
    client: Client | None,
    worker: Callable[[Client], Worker] | None,
    during: Callable[[Run[Any]], Awaitable[object]] | None,
    effects: Callable[[str], object] | None = None,
    do: Callable[[Client, str], Awaitable[object]] | None = None,
    timeout: timedelta,
) -> AsyncGenerator[Stage]:
    """A stage whose worker serves.

    Args:
        workflow: As for `crash_everywhere`.
        args: As there, and so are `client`, `worker`, `during`, `effects` and `timeout`.
        do: What happens to a run, by its id, at its moment. Default: it loses its worker.
    """
    async with _client(client) as connected:
        host = worker(connected) if worker else Worker(connected, _served(workflow), queues=_queues(workflow))
        act = partial(do, connected) if do is not None else None
        stage = Stage(
            connected, host, workflow, args, during=during, effects=effects, do=act, timeout=timeout
        )
        async with host:
            yield stage


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
    news: asyncio.Event,
    during: Callable[[Run[Any]], Awaitable[object]] | None,
    timeout: timedelta,
) -> tuple[End | None, Any, str | None]:
    """How a run ends: which way, its result, and why it failed."""

    async def to_its_end() -> Any:
        if during is not None:
            await _give(during(run), watched, news)
        return await run.result()

    ending = asyncio.create_task(to_its_end())
    heard = asyncio.create_task(news.wait())
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            await asyncio.wait([ending, heard], return_when=asyncio.FIRST_COMPLETED)
            if not watched.broken:
                return "completed", await ending, None
        why = watched.broken
    except RunCancelled:
        return "cancelled", None, "it was cancelled"
    except RunFailed as failed:
        return "failed", None, failed.message.replace(run.id, "...")
    except TimeoutError:
        why = f"it did not end within {timeout.total_seconds():g} s"
    finally:
        for task in (ending, heard):
            task.cancel()
        await asyncio.gather(ending, heard, return_exceptions=True)
    with suppress(HoldfastError):  # it may have ended just now
        await run.terminate("it cannot go on, says holdfast.testing")
    return None, None, f"the run cannot go on: {why}"


async def _give(needed: Awaitable[object], watched: Watched, news: asyncio.Event) -> None:
    """What a run needs from outside, until it was cancelled and has ended: then it needs no more, and refuses it."""
    giving, heard = asyncio.ensure_future(needed), asyncio.create_task(news.wait())
    try:
        await asyncio.wait([giving, heard], return_when=asyncio.FIRST_COMPLETED)
        if watched.do is None or not watched.crashed:
            await giving
        elif giving.done() and not isinstance(giving.exception(), HoldfastError):
            giving.result()
    finally:
        giving.cancel()
        heard.cancel()
        await asyncio.gather(giving, heard, return_exceptions=True)


def _events(
    watched: Watched, histories: Sequence[WorkflowHistory]
) -> tuple[dict[tuple[str, Moment], int], int]:
    """The events of the calls of steps in the histories of a run and its children, and how many events there are."""
    found: dict[tuple[str, Moment], int] = {}
    for history in histories:
        scheduled: dict[int, str] = {}
        for event in history.events:
            if event.HasField("activity_task_scheduled_event_attributes"):
                what = watched.name(
                    history.workflow_id, event.activity_task_scheduled_event_attributes.activity_id
                )
                scheduled[event.event_id] = what
            elif event.HasField("activity_task_started_event_attributes"):
                what = scheduled[event.activity_task_started_event_attributes.scheduled_event_id]
                found[what, "begins"] = found[what, "ends"] = event.event_id
                found[what, "is recorded"] = event.event_id + 1
    return found, sum(len(history.events) for history in histories)
