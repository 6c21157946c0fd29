"""Which open runs do not move, and why: from the history where an indexer keeps it, else from Temporal, run by run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from holdfast.client.description import RunDescription
from holdfast.errors import HoldfastError, NotFound
from holdfast.states import StepState
from holdfast.stuck import StuckRun, cause_of

if TYPE_CHECKING:
    from holdfast.client.client import Client

logger = logging.getLogger("holdfast.stuck")

_AT_A_TIME: Final = 10
_FRESH: Final = timedelta(seconds=10)
_AGAIN: Final = (StepState.RETRYING, StepState.PENDING, StepState.WAITING)


async def find_stuck(
    client: Client, *, workflow: str | None, limit: int, progress: Callable[[str], None] | None
) -> list[StuckRun]:
    """Open runs that do not move, the longest first."""
    if client.store.kept:
        from holdfast.store.waiting import stuck_runs

        try:
            lag = await client.store.lag()
            if lag is not None and lag < _FRESH:
                return await client.store.read(stuck_runs, workflow=workflow, limit=limit)
        except HoldfastError as error:  # it is away, or of another namespace: Temporal knows too
            logger.info("the history cannot be asked: %s", error)
    return await _ask(client, workflow, limit, progress or (lambda _: None))


async def _ask(
    client: Client, workflow: str | None, limit: int, progress: Callable[[str], None]
) -> list[StuckRun]:
    summaries = await client.runs.list(open=True, workflow=workflow, limit=limit)
    turn, done_count = asyncio.Semaphore(_AT_A_TIME), 0

    async def look(run_id: str) -> RunDescription | None:
        nonlocal done_count
        async with turn:
            try:
                return await client.get(run_id).describe()
            except NotFound:  # deleted since it was listed
                return None
            finally:
                done_count += 1
                progress(f"looked at {done_count} of {len(summaries)} open runs")

    described = await asyncio.gather(*(look(summary.id) for summary in summaries))
    found = [stuck for run in described if run is not None and (stuck := told(run)) is not None]
    return sorted(found, key=lambda run: run.since)


def told(run: RunDescription) -> StuckRun | None:
    """Why a described run does not move; `None` if it does."""
    cause = None if run.state.closed else cause_of(run.state, run.stuck, run.waiting_for)
    if cause is None:
        return None
    waits = [wait.since for wait in run.waits if wait.since]
    tried = [step.scheduled for step in run.steps if step.scheduled and step.state in _AGAIN]
    ended = [step.closed for step in run.steps if step.closed]
    started = run.started or datetime.now(UTC)
    since = min(waits) if waits else min(tried) if tried else max([started, *ended])
    return StuckRun(
        id=run.id,
        workflow=run.workflow,
        state=run.state,
        cause=cause,
        why=run.stuck or run.waiting_for or "paused",
        since=since,
    )
