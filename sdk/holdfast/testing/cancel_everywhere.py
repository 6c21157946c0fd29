"""`cancel_everywhere`: does a run end as it should wherever it is cancelled?"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Final, TypeVar, TypeVarTuple

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowContinuedAsNewError, WorkflowFailureError, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from holdfast.client.client import Client
from holdfast.client.run import Run
from holdfast.engine.compensation import COMPENSATION_PREFIX, UNDOABLE
from holdfast.engine.parts import Parts
from holdfast.engine.worker import Worker
from holdfast.errors import InvalidInput
from holdfast.testing.crashes import CrashPoint
from holdfast.testing.everywhere import Outcome, Stage, staged
from holdfast.testing.replay import replay_each

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_STARTS: Final = CrashPoint(what="the run", moment="begins", event=1)
_CHILD_SECONDS: Final = 10.0
_PREFIX: Final = "EVENT_TYPE_WORKFLOW_EXECUTION_"
_ENDS: Final = ("COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT", "CONTINUED_AS_NEW")


@dataclass(frozen=True, kw_only=True)
class CancelDifference:
    """What was wrong after a cancel at one point."""

    point: CrashPoint
    what: str
    """One sentence."""

    def __str__(self) -> str:
        return f"a run that is cancelled {self.point}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class CancelReport:
    """What came of cancelling a workflow everywhere."""

    points: Sequence[CrashPoint]
    """Where a run was cancelled, each in a run of its own."""

    unreached: Sequence[CrashPoint]
    """Points that the run, started again to be cancelled there, did not come by."""

    differences: Sequence[CancelDifference]
    """What was wrong, in the order of the points."""

    ends: Mapping[str, int]
    """How many ended in which way: `cancelled`, `completed`, `failed`."""

    events: int
    """The events of the undisturbed run's history, those of its child runs included."""

    seconds: float
    """How long it took, without the start of a server."""

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        lines = [
            f"cancelled at {len(self.points)} points over {self.events} events in {self.seconds:.0f} s: "
            f"{ends}; {len(self.differences)} differences"
        ]
        if self.unreached:
            lines.append(f"{len(self.unreached)} points did not come by again")
        lines += [str(difference) for difference in self.differences]
        return "\n".join(lines)


async def cancel_everywhere(
    workflow: Callable[[*Ts], Awaitable[R]],
    /,
    *args: *Ts,
    client: Client | None = None,
    worker: Callable[[Client], Worker] | None = None,
    during: Callable[[Run[R]], Awaitable[object]] | None = None,
    verify: Callable[[str], object] | None = None,
    check: bool = True,
    at_once: int = 20,
    timeout: timedelta = timedelta(seconds=60),
) -> CancelReport:
    """Run a workflow once undisturbed, then once for each boundary between two events of its history, where the run is
    cancelled, and check how it ends.

    The moments are those of `crash_everywhere`, and that of the start. Each run must end `cancelled`, or as the
    undisturbed one did (completed, or failed with the same failure); its child runs must have ended too; what undoes a
    completed step must have run once, unless the run completed; no step may begin after its run has ended; and today's
    code must replay every history.

    Args:
        workflow: A `@workflow` function or a `Dag`. Its steps run for real, many times: mock those whose effect you do
            not want.
        *args: Its arguments.
        client: Of a server of your own, such as `holdfast_client`. Default: a server in memory, for this call.
        worker: Makes the worker. Default: one that serves the workflow and every step that the process has imported, on
            all their queues.
        during: What the run needs from outside, such as messages and decisions; called with each run after its start,
            and cancelled when the run has ended. What Holdfast then refuses is no error.
        verify: Looks at what a run has left behind, by its id, and raises `AssertionError` where that is wrong, such as
            a booking that nobody undid. Async or sync.
        check: Whether differences raise. Otherwise they are in the report.
        at_once: How many runs at a time.
        timeout: How long one run may take, in real time.

    Returns:
        The report.

    Raises:
        AssertionError: A run ended as it should not; the first point is named with its event and step.
        InvalidInput: The undisturbed run cannot go on.

    Example:
        `await cancel_everywhere(fulfil, order, verify=lambda run_id: bank.check_balanced(run_id))`
    """
    async with staged(
        workflow, args, client=client, worker=worker, during=during, do=_cancel, timeout=timeout
    ) as stage:
        base = await stage.play()
        if base.end is None:
            raise InvalidInput(f"without any cancel, {base.failure}")
        points, events = await stage.points(base)
        points = [_STARTS, *points]
        outcomes = [await stage.play(_STARTS, at_start=True), *await stage.play_all(points[1:], at_once)]
        histories = [await _closed(stage, outcome) for outcome in outcomes]
        wrong = [
            [*await _wrong(base, outcome, verify), *_wrong_histories(outcome, its)]
            for outcome, its in zip(outcomes, histories, strict=True)
        ]
        replayed = await _replayed(stage, outcomes, histories)
        seconds = stage.seconds
    report = CancelReport(
        points=[point for point, one in zip(points, outcomes, strict=True) if one.watched.crashed],
        unreached=[point for point, one in zip(points, outcomes, strict=True) if not one.watched.crashed],
        differences=[
            CancelDifference(point=point, what=what)
            for point, one, found in zip(points, outcomes, wrong, strict=True)
            for what in [*found, *replayed.get(one.watched.run_id, ())]
        ],
        ends=Counter(outcome.end or "stuck" for outcome in outcomes if outcome.watched.crashed),
        events=events,
        seconds=seconds,
    )
    if check and report.differences:
        raise AssertionError(
            f"{report.differences[0]}\n({len(report.differences)} differences at {len(report.points)} points)"
        )
    return report


async def _cancel(client: Client, run_id: str) -> None:
    try:
        await client.temporal.get_workflow_handle(run_id).cancel()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended
            raise


async def _closed(stage: Stage, outcome: Outcome) -> list[WorkflowHistory]:
    """The histories of a run and its children, which may end a moment after it."""
    for execution, run_id in outcome.watched.executions.items():
        handle = stage.client.temporal.get_workflow_handle(run_id, run_id=execution)
        with suppress(WorkflowFailureError, WorkflowContinuedAsNewError, TimeoutError):
            async with asyncio.timeout(_CHILD_SECONDS):
                await handle.result(follow_runs=False)
    return await stage.histories(outcome)


async def _wrong(base: Outcome, outcome: Outcome, verify: Callable[[str], object] | None) -> list[str]:
    """What is wrong with the end of a run, in sentences."""
    if outcome.end is None:
        return [str(outcome.failure)]
    found = list[str]()
    if outcome.end == "failed" and base.failure != outcome.failure:
        found.append(f"it failed: {outcome.failure}")
    if outcome.watched.late:
        found.append(f"{', '.join(outcome.watched.late)} began after its run had ended")
    if outcome.watched.again:
        found.append(f"{', '.join(outcome.watched.again)} ran again after the result had been recorded")
    if verify is not None:
        try:
            looked = verify(outcome.watched.run_id)
            if inspect.isawaitable(looked):
                await looked
        except AssertionError as error:
            found.append(str(error).partition("\n")[0] or "what it left behind is wrong")
    return found


def _wrong_histories(outcome: Outcome, histories: Sequence[WorkflowHistory]) -> list[str]:
    if outcome.end is None:
        return []
    return [
        what
        for history in histories
        for what in _wrong_history(outcome.watched.name(history.workflow_id, ""), history)
    ]


def _wrong_history(who: str, history: WorkflowHistory) -> list[str]:
    undoable, done, undone = dict[int, str](), set[str](), Counter[str]()
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            asked = event.activity_task_scheduled_event_attributes
            if UNDOABLE in asked.header.fields:
                undoable[event.event_id] = asked.activity_id
            elif asked.activity_id.startswith(COMPENSATION_PREFIX):
                undone[asked.activity_id.removeprefix(COMPENSATION_PREFIX)] += 1
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            call = undoable.get(event.activity_task_completed_event_attributes.scheduled_event_id)
            done |= {call} if call else set()
    end = EventType.Name(history.events[-1].event_type).removeprefix(_PREFIX)
    found = list[str]()
    if end not in _ENDS:
        found.append(f"its child run {who} is still open" if who else "it is still open")
    if end in ("FAILED", "CANCELED"):
        found += [f"{who}{call} completed and was not undone" for call in sorted(done - undone.keys())]
    return found + [f"{who}{call} was undone {times} times" for call, times in undone.items() if times > 1]


async def _replayed(
    stage: Stage, outcomes: Sequence[Outcome], histories: Sequence[Sequence[WorkflowHistory]]
) -> dict[str, list[str]]:
    """What today's code does differently in the histories of runs, by run."""
    run_of = {
        history.workflow_id: outcome.watched.run_id
        for outcome, its in zip(outcomes, histories, strict=True)
        for history in its
    }
    found: dict[str, list[str]] = {}

    async def given() -> AsyncIterator[WorkflowHistory]:
        for history in chain.from_iterable(histories):
            yield history

    parts: Parts = stage.host._parts  # pyright: ignore[reportPrivateUsage]
    async for replayed in replay_each(given(), parts, client=stage.client):
        if replayed.difference is not None:
            found.setdefault(run_of[replayed.run_id], []).append(f"it does not replay: {replayed}")
    return found
