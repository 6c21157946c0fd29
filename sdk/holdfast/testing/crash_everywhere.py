"""`crash_everywhere`: does a workflow end in the same way wherever its worker dies?"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar, TypeVarTuple

from holdfast.client.client import Client
from holdfast.client.run import Run
from holdfast.engine.worker import Worker
from holdfast.errors import InvalidInput
from holdfast.testing.crashes import CrashPoint
from holdfast.testing.everywhere import Outcome, staged

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_ATTEMPTS: Final = re.compile(r" after \d+ attempts")
"""What a crash may change in the message of a failed run."""

_NON_DETERMINISM: Final = "TMPRL1100"
_CHILDREN: Final = "Child workflows are served by worker="


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

    seconds: float
    """How long it took, without the start of a server."""

    failure: str | None
    """How the undisturbed run failed, as all others then have to; None if it completed."""

    def __str__(self) -> str:
        lines = [
            f"{len(self.points)} crash points over {self.events} events in {self.seconds:.0f} s, "
            f"{len(self.differences)} differences; "
            f"{sum(self.repeated.values())} times a step ran again whose result was lost"
        ]
        if self.failure is not None:
            lines.append(f"each run fails, as the undisturbed one did: {self.failure}")
        if self.unreached:
            lines.append(f"{len(self.unreached)} points did not come by again")
        lines += [str(difference) for difference in self.differences]
        return "\n".join(lines)


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
    async with staged(
        workflow, args, client=client, worker=worker, during=during, effects=effects, timeout=timeout
    ) as stage:
        base, twin = await asyncio.gather(stage.play(), stage.play())
        difference = _difference(base, twin, same)
        if base.watched.broken:
            why = "Its code is not deterministic" if _NON_DETERMINISM in base.watched.broken else _CHILDREN
            raise InvalidInput(f"a run without any crash cannot go on: {base.watched.broken}. {why}")
        if difference:
            raise InvalidInput(
                f"two runs without any crash differ: {difference}. Compare what stays the "
                "same: with same=, with effects= that leave out the rest, or by mocks of the steps it comes from"
            )
        points, count = await stage.points(base)
        outcomes = await stage.play_all(points, at_once)
        seconds = stage.seconds
    report = _report(base, points, outcomes, same, count, seconds)
    if check and report.differences:
        raise AssertionError(
            f"{report.differences[0]}\n({len(report.differences)} of {len(report.points)} crash points differ)"
        )
    return report


def _difference(base: Outcome, other: Outcome, same: Callable[[Any, Any], bool] | None) -> str | None:
    """What is different between two runs, as a sentence."""
    if _failure(other) != _failure(base):
        expected = _said(base)
        return f"{_failure(other) or _said(other)}, in place of: {expected}"
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


def _failure(outcome: Outcome) -> str | None:
    return outcome.failure and _ATTEMPTS.sub("", outcome.failure)


def _equal(one: object, other: object) -> bool:
    return one == other


def _said(outcome: Outcome) -> str:
    return f"the result {outcome.result!r:.300}" if outcome.failure is None else str(_failure(outcome))


def _report(
    base: Outcome,
    points: Sequence[CrashPoint],
    outcomes: Sequence[Outcome],
    same: Callable[[Any, Any], bool] | None,
    events: int,
    seconds: float,
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
        seconds=seconds,
        failure=base.failure,
    )
