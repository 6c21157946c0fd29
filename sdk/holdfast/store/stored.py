"""Runs and steps as the store tells them. Plain values: importable without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.jsonable import Jsonable
from holdfast.states import RunState, StepState


@dataclass(frozen=True, kw_only=True)
class StoredRun(Jsonable):
    """A run as the store keeps it. Times are in UTC, spans in microseconds."""

    key: int
    id: str
    execution_id: str
    workflow: str
    version: str
    dag: bool
    state: RunState
    queue: str
    parent: str | None
    started: datetime
    first_task: datetime | None
    closed: datetime | None
    duration_us: int | None
    queue_wait_us: int | None
    attempt: int
    step_count: int
    retry_count: int
    failed_step_count: int
    tokens: int
    cost_micros: int
    error_type: str | None
    error_step: str | None
    error_message: str | None
    fingerprint: str | None
    waiting_for: str | None
    stuck: str | None
    search_attributes: dict[str, Any] | None
    history_event_count: int
    history_size_bytes: int
    observed: datetime
    """When Temporal was last asked."""

    gap: str | None
    """Why part of the history is missing."""


@dataclass(frozen=True, kw_only=True)
class StoredStep(Jsonable):
    """A step as the store keeps it."""

    position: int
    execution_id: str
    activity_id: str
    name: str
    ordinal: int
    state: StepState
    local: bool
    attempt: int
    scheduled: datetime | None
    started: datetime | None
    closed: datetime | None
    duration_us: int | None
    queue_wait_us: int | None
    queue: str | None
    worker: str | None
    error_type: str | None
    error_message: str | None
    fingerprint: str | None
    compensates: str | None
    summary: str | None
    input: list[Any] | None
    result: Any
    tokens: int
    cost_micros: int
    failures: Sequence[StoredFailure] = ()
    """The attempts that failed, as far as the history has them."""


@dataclass(frozen=True, kw_only=True)
class StoredFailure(Jsonable):
    """An attempt that failed."""

    attempt: int
    error_type: str
    error_message: str
    fingerprint: str
    started: datetime | None
    closed: datetime | None
    worker: str | None


@dataclass(frozen=True, kw_only=True)
class Page(Jsonable):
    """Some runs, newest first."""

    runs: Sequence[StoredRun]
    next: str | None
    """Where the next page goes on; `None` if there is none."""


@dataclass(frozen=True, kw_only=True)
class Facet(Jsonable):
    """How many of the runs have one value."""

    value: str | None
    count: int
    latest: StoredRun
    """The newest of them: an example, with its error."""
