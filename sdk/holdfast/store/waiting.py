"""Stored runs that are open and do not move."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, or_, select

from holdfast.states import RunState, StepState
from holdfast.store.database import Database
from holdfast.store.filters import RunFilter, conditions
from holdfast.store.schema import approvals, run_details, runs, steps
from holdfast.stuck import SENTENCES, StuckRun, cause_of

_CHUNK: Final = 500
_OPEN: Final = [state.value for state in RunState if not state.closed]


def stuck_runs(database: Database, *, workflow: str | None = None, limit: int = 1000) -> list[StuckRun]:
    """Open runs that do not move, the longest first.

    Args:
        database: Where from.
        workflow: Only those of this workflow or DAG.
        limit: How many at most, the oldest first.

    Raises:
        Unavailable: The database does not answer.
    """
    said = [
        run_details.c.waiting_for.contains(part, autoescape=True)
        for parts in SENTENCES.values()
        for part in parts
    ]
    query = (
        select(runs.c.key, runs.c.id, runs.c.workflow, runs.c.state, runs.c.started)
        .add_columns(run_details.c.stuck, run_details.c.waiting_for)
        .join(run_details, run_details.c.run_key == runs.c.key)
        .where(runs.c.state.in_(_OPEN), runs.c.closed.is_(None), runs.c.gap.is_(None))
        .where(*conditions(RunFilter(workflows=[workflow] if workflow is not None else [])))
        .where(or_(run_details.c.stuck.is_not(None), runs.c.state == RunState.PAUSED.value, *said))
        .order_by(runs.c.key)
        .limit(limit)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
        since = _since(connection, [row.key for row in rows])
    found: list[StuckRun] = [
        StuckRun(
            id=row.id,
            workflow=row.workflow,
            state=RunState(row.state),
            cause=cause,
            why=row.stuck or row.waiting_for or "paused",
            since=since.get(row.key) or row.started,
        )
        for row in rows
        if (cause := cause_of(RunState(row.state), row.stuck, row.waiting_for)) is not None
    ]
    return sorted(found, key=lambda run: run.since)


def _since(connection: Connection, keys: list[int]) -> dict[int, datetime]:
    """Since when runs wait: for a decision, a step that is tried again, or since the last step ended."""
    found: dict[int, datetime] = {}
    waits = select(approvals.c.run_key, func.min(approvals.c.since))
    tried = select(steps.c.run_key, func.min(steps.c.scheduled))
    ended = select(steps.c.run_key, func.max(steps.c.closed))
    again = steps.c.state.in_([StepState.RETRYING.value, StepState.PENDING.value, StepState.WAITING.value])
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        for query in (
            ended.where(steps.c.run_key.in_(chunk)).group_by(steps.c.run_key),
            tried.where(steps.c.run_key.in_(chunk), again).group_by(steps.c.run_key),
            waits.where(approvals.c.run_key.in_(chunk)).group_by(approvals.c.run_key),
        ):
            found |= {row[0]: row[1] for row in connection.execute(query) if row[1] is not None}
    return found
