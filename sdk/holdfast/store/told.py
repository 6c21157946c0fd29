"""A stored run, described in the same words as one that was read from Temporal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from holdfast.client.description import ErrorInfo, Preview, RunDescription, StepDescription
from holdfast.store.database import Database
from holdfast.store.runs import StoredRun, StoredStep, get_previews, get_run, get_steps


def describe_stored(database: Database, run_id: str) -> RunDescription:
    """The run as far as the store keeps it: payloads are cut, and open waits are only told of in `waiting_for`.

    Raises:
        NotFound: It is not stored.
        Unavailable: The database does not answer.
    """
    run, previews = get_run(database, run_id), get_previews(database, run_id)
    kept: list[dict[str, Any]] = previews["input"] or []
    return RunDescription(
        id=run.id,
        workflow=run.workflow,
        state=run.state,
        queue=run.queue,
        execution_id=run.execution_id,
        started=run.started,
        closed=run.closed,
        duration=_span(run.duration_us),
        input=[_preview(given) for given in kept],
        result=_preview(previews["result"]) if previews["result"] else None,
        error=_error(run),
        steps=[_step(step) for step in get_steps(database, run_id)],
        waiting_for=run.waiting_for,
        stuck=run.stuck,
        parent=run.parent,
        attempt=run.attempt,
        history_event_count=run.history_event_count,
        history_size_bytes=run.history_size_bytes,
        search_attributes=run.search_attributes or {},
        build_id=run.version or None,
    )


def _step(step: StoredStep) -> StepDescription:
    last = step.failures[-1] if step.failures else None
    return StepDescription(
        name=step.name,
        ordinal=step.ordinal,
        activity_id=step.activity_id,
        state=step.state,
        local=step.local,
        attempt=step.attempt,
        scheduled=step.scheduled,
        started=step.started,
        closed=step.closed,
        duration=_span(step.duration_us),
        error=_error(step),
        last_failure=ErrorInfo(type=last.error_type, message=last.error_message) if last else None,
        worker=step.worker,
        queue=step.queue,
        summary=step.summary,
        input=[_preview(given) for given in step.input or []],
        result=_preview(step.result) if step.result else None,
        compensates=step.compensates,
    )


def _error(row: StoredRun | StoredStep) -> ErrorInfo | None:
    return None if row.error_type is None else ErrorInfo(type=row.error_type, message=row.error_message or "")


def _preview(kept: dict[str, Any]) -> Preview:
    return Preview(text=kept["text"], size_bytes=kept["size"], complete=kept["complete"])


def _span(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)
