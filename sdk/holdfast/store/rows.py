"""From a described run to the rows that are kept of it. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast

from holdfast.client.description import ErrorInfo, Preview, RunDescription, StepDescription
from holdfast.states import StepState
from holdfast.store.columns import (
    ID_BYTES,
    MESSAGE_BYTES,
    RUN_PREVIEW_BYTES,
    STEP_PREVIEW_BYTES,
    bounded,
    cut,
    microseconds,
)
from holdfast.store.fingerprint import fingerprint
from holdfast.store.schema import key_of

Row: TypeAlias = dict[str, Any]

SEARCH_BYTES = 2000


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a step used up."""

    tokens: int = 0
    cost_micros: int = 0
    """Millionths of a US dollar, whole: sums of them stay right however often a run is indexed again."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, for those who listen."""

    kind: str
    at: datetime
    payload: Any = None
    channel: str = "runs"
    run_id: str | None = None
    identity: str | None = None
    """Events of one identity are kept once; `None` is no identity."""

    @property
    def workflow(self) -> str | None:
        """The workflow, or the DAG, of the run."""
        payload: object = self.payload
        if self.channel != "runs" or not isinstance(payload, dict):
            return None
        return cast("dict[str, Any]", payload).get("workflow")


@dataclass(frozen=True, kw_only=True)
class IndexedRun:
    """An execution of a run as it was read from Temporal, to be stored."""

    run: RunDescription
    observed: datetime
    """When it was read. Decides between two descriptions of as many events."""

    last_event_id: int | None = None
    """Default: the number of events."""

    first_execution_id: str | None = None
    """The execution that this one continues, directly or not. Default: itself."""

    first_task: datetime | None = None
    """When a worker first took it up."""

    dag: bool = False
    version: str | None = None
    """The version of the definition. Default: the build id."""

    usage: Mapping[str, Usage] = field(default_factory=dict[str, Usage])
    """By activity id."""

    begun_with: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What another start of it needs besides the input, as JSON values: `memo`, `priority`, `task_timeout_seconds`."""

    gap: str | None = None
    """Why part of its history is missing."""

    replaces: bool = False
    """Whether it is stored in the place of what has more events, since Temporal does not have those any more."""

    events: Sequence[Event] = ()

    @property
    def started(self) -> datetime:
        """When the execution started, as far as that is known."""
        return self.run.started or self.observed

    @property
    def chain(self) -> str:
        """The first execution of those that continue each other."""
        return self.first_execution_id or self.run.execution_id

    @property
    def failed_step(self) -> str | None:
        """The first step that failed for good."""
        failed = (step.name for step in self.run.steps if step.failed)
        return next(failed, None)


def execution_row(indexed: IndexedRun) -> Row:
    """The row in `executions`, without `run_key`."""
    run, usage = indexed.run, indexed.usage.values()
    return {
        "key": key_of(run.execution_id, microseconds(indexed.started)),
        "execution_id": bounded(run.execution_id, ID_BYTES),
        "first_execution_id": bounded(indexed.chain, ID_BYTES),
        "workflow": bounded(run.workflow),
        "version": bounded(indexed.version or run.build_id or ""),
        "state": run.state.value,
        "started": indexed.started,
        "first_task": indexed.first_task,
        "closed": run.closed,
        "step_count": len(run.steps),
        "retry_count": sum(step.attempt - 1 for step in run.steps),
        "failed_step_count": sum(step.failed for step in run.steps),
        "tokens": sum(used.tokens for used in usage),
        "cost_micros": sum(used.cost_micros for used in usage),
        "history_event_count": run.history_event_count,
        "history_size_bytes": run.history_size_bytes,
        "last_event_id": run.history_event_count if indexed.last_event_id is None else indexed.last_event_id,
        "observed": indexed.observed,
        "gap": indexed.gap,
    }


def told_row(indexed: IndexedRun) -> Row:
    """What the newest execution alone says in `runs`."""
    run = indexed.run
    error = _error(run.error)
    step = indexed.failed_step
    return {
        "id": bounded(run.id, ID_BYTES),
        "dag": indexed.dag,
        "queue": bounded(run.queue),
        "parent": None if run.parent is None else bounded(run.parent, ID_BYTES),
        "attempt": run.attempt,
        "error_type": error["error_type"],
        "error_step": None if step is None else bounded(step),
        "fingerprint": run.error and fingerprint(run.error.known_as, run.error.message, step),
    }


def detail_row(indexed: IndexedRun) -> Row:
    """The row in `run_details`, without `run_key`."""
    run = indexed.run
    message = run.error and cut(run.error.message, MESSAGE_BYTES)
    shown = [preview(given, RUN_PREVIEW_BYTES) for given in run.input[:10]]
    result = preview(run.result, RUN_PREVIEW_BYTES)
    found = [run.id, run.workflow, f"{run.error.known_as}: {message}" if run.error else None]
    found += [run.error.type] if run.error and run.error.step_type else []
    found += [str(value) for value in run.search_attributes.values()]
    found += [given["text"] for given in [*shown, result] if given]
    return {
        "error_message": message,
        "waiting_for": run.waiting_for and cut(run.waiting_for, MESSAGE_BYTES),
        "stuck": run.stuck and cut(run.stuck, MESSAGE_BYTES),
        "input": shown,
        "result": result,
        "search_attributes": dict(run.search_attributes),
        "memo": dict(run.memo) if len(str(run.memo)) <= RUN_PREVIEW_BYTES else {},
        "search": cut("\n".join(filter(None, found)), SEARCH_BYTES),
    }


def step_rows(indexed: IndexedRun) -> list[Row]:
    """The rows in `steps`, without `run_key` and `execution_key`."""
    return [
        _step_row(position, step, indexed.usage.get(step.activity_id, Usage()))
        for position, step in enumerate(indexed.run.steps)
    ]


def attempt_rows(indexed: IndexedRun) -> list[Row]:
    """The rows in `attempts`, without `run_key` and `execution_key`."""
    rows: list[Row] = []
    for position, step in enumerate(indexed.run.steps):
        # What a step says of its last failure: before it was closed, or before it is due again, that of this attempt.
        waits = step.state is StepState.RETRYING
        if step.last_failure and (waits or step.attempt > 1):
            attempt = step.attempt if waits and step.started is None else max(step.attempt - 1, 1)
            rows.append(_attempt_row(position, attempt, step, step.last_failure, last=False))
        if step.error and step.failed:
            rows.append(_attempt_row(position, step.attempt, step, step.error, last=True))
    return rows


def approval_rows(indexed: IndexedRun) -> list[Row]:
    """The rows in `approvals`, without `run_key`."""
    return [
        {
            "name": bounded(wait.name),
            "prompt": wait.prompt and cut(wait.prompt, MESSAGE_BYTES),
            "form": None if wait.form is None else dict(wait.form),
            "since": wait.since,
            "deadline": wait.deadline,
        }
        for wait in {
            bounded(wait.name): wait for wait in indexed.run.waits if wait.kind == "approval"
        }.values()
    ]


def preview(shown: Preview | None, limit_bytes: int) -> Row | None:
    """What is kept of a payload: `text`, cut; `size` in bytes; `complete`, whether it is all."""
    if shown is None:
        return None
    text = cut(shown.text, limit_bytes)
    return {"text": text, "size": shown.size_bytes, "complete": shown.complete and text == shown.text}


def is_failure(state: str, error_type: str | None) -> bool:
    """Whether a row of `steps` tells of a step that failed for good, also if it was compensated since."""
    return state == StepState.FAILED or (state == StepState.COMPENSATED and bool(error_type))


def span_us(start: datetime | None, end: datetime | None) -> int | None:
    """Microseconds from start to end, never below 0: clocks of several machines are involved."""
    if start is None or end is None:
        return None
    return max((end - start) // timedelta(microseconds=1), 0)


def _step_row(position: int, step: StepDescription, usage: Usage) -> Row:
    return {
        "position": position,
        "activity_id": bounded(step.activity_id, ID_BYTES),
        "name": bounded(step.name),
        "ordinal": step.ordinal,
        "state": step.state.value,
        "local": step.local,
        "attempt": step.attempt,
        "scheduled": step.scheduled,
        "started": step.started,
        "closed": step.closed,
        "duration_us": span_us(step.started, step.closed),
        # Later attempts waited for their turn and for the delay between attempts; only the first tells of the queue.
        "queue_wait_us": None if step.local or step.attempt > 1 else span_us(step.scheduled, step.started),
        "queue": None if step.queue is None else bounded(step.queue),
        "worker": None if step.worker is None else bounded(step.worker),
        **_error(step.error if step.failed else None, step.name),
        "compensates": None if step.compensates is None else bounded(step.compensates, ID_BYTES),
        "summary": step.summary and cut(step.summary, STEP_PREVIEW_BYTES),
        "input": [preview(given, STEP_PREVIEW_BYTES) for given in step.input[:10]],
        "result": preview(step.result, STEP_PREVIEW_BYTES),
        "tokens": usage.tokens,
        "cost_micros": usage.cost_micros,
    }


def _attempt_row(position: int, attempt: int, step: StepDescription, error: ErrorInfo, *, last: bool) -> Row:
    return {
        "position": position,
        "attempt": attempt,
        **_error(error, step.name),
        "started": step.started if last else None,
        "closed": step.closed if last else None,
        "worker": bounded(step.worker) if last and step.worker is not None else None,
    }


def _error(error: ErrorInfo | None, step: str | None = None) -> Row:
    if error is None:
        return {"error_type": None, "error_message": None, "fingerprint": None}
    return {
        "error_type": bounded(error.known_as),
        "error_message": cut(error.message, MESSAGE_BYTES),
        "fingerprint": fingerprint(error.known_as, error.message, step),
    }
