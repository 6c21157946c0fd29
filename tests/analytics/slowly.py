"""Figures from raw histories of Temporal, one run at a time, in the most simple-minded way.

Shares no code with the store, the indexer or the engine: what it knows of Holdfast are the names in histories.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

ENDS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "completed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "completed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "failed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "terminated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed_out",
}
CLOSED = set(ENDS.values())
STEP_CLOSED = {"completed", "failed", "cancelled", "compensated"}


@dataclass
class SlowStep:
    workflow: str
    name: str
    id: str
    local: bool = False
    state: str = "pending"
    scheduled: datetime | None = None
    started: datetime | None = None
    closed: datetime | None = None
    attempts: int = 1
    error: str | None = None
    tokens: int = 0
    micros: int = 0

    @property
    def failed(self) -> bool:
        """Also if it was undone since: nobody knew what it had done."""
        return self.error is not None

    @property
    def took(self) -> timedelta | None:
        return self.closed - self.started if self.closed and self.started else None

    @property
    def waited(self) -> timedelta | None:
        if self.local or self.attempts > 1 or self.scheduled is None or self.started is None:
            return None
        return self.started - self.scheduled


@dataclass
class SlowRun:
    """An execution, and then a run made of those that continue each other."""

    id: str
    first: str
    workflow: str
    queue: str
    started: datetime
    state: str = "waiting"
    first_task: datetime | None = None
    closed: datetime | None = None
    error: str | None = None
    steps: list[SlowStep] = field(default_factory=list[SlowStep])

    @property
    def took(self) -> timedelta | None:
        return self.closed - self.started if self.closed else None

    @property
    def waited(self) -> timedelta | None:
        return self.first_task - self.started if self.first_task else None

    @property
    def retries(self) -> int:
        return sum(step.attempts - 1 for step in self.steps)


async def read(client: Client) -> tuple[list[SlowRun], list[SlowRun]]:
    """All executions of the namespace, and all runs."""
    executions: list[SlowRun] = []
    async for found in client.list_workflows():
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        executions.append(_execution((await handle.fetch_history()).events, found.id, found.run_id))
    chains: dict[str, list[SlowRun]] = defaultdict(list)
    for execution in executions:
        chains[execution.id].append(execution)
    return executions, [_run(chain) for chain in chains.values()]


def _run(chain: list[SlowRun]) -> SlowRun:
    """The executions that continue each other as one; none here is started again under its id."""
    ordered = sorted(chain, key=lambda execution: execution.started)
    assert len({execution.first for execution in ordered}) == 1
    first, last = ordered[0], ordered[-1]
    steps = [step for execution in ordered for step in execution.steps]
    return SlowRun(
        id=first.id, first=first.first, workflow=last.workflow, queue=last.queue, started=first.started,
        state=last.state, first_task=first.first_task, closed=last.closed, error=last.error, steps=steps,
    )  # fmt: skip


def _execution(events: Sequence[HistoryEvent], run_id: str, execution_id: str) -> SlowRun:
    start = events[0].workflow_execution_started_event_attributes
    workflow = start.workflow_type.name
    if workflow == "holdfast.dag":
        workflow = json.loads(start.memo.fields["holdfast.dag"].data)
    told = SlowRun(
        id=run_id, first=start.first_execution_run_id, workflow=workflow, queue=start.task_queue.name,
        started=_time(events[0]),
    )  # fmt: skip
    tasks: list[datetime] = []
    scheduled: dict[int, SlowStep] = {}
    for event in events:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            tasks.append(_time(event))
            told.first_task = tasks[0]
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            call = event.activity_task_scheduled_event_attributes
            name = call.activity_type.name
            step = SlowStep(workflow, name.removeprefix("node:"), call.activity_id, scheduled=_time(event))
            scheduled[event.event_id] = step
            if not name.startswith(("holdfast.", "__temporal")):
                told.steps.append(step)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            begun = event.activity_task_started_event_attributes
            scheduled[begun.scheduled_event_id].started = _time(event)
            scheduled[begun.scheduled_event_id].attempts = begun.attempt
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            done = event.activity_task_completed_event_attributes
            step = scheduled[done.scheduled_event_id]
            step.state, step.closed = "completed", _time(event)
            _spend(step, json.loads(done.result.payloads[0].metadata.get("holdfast-usage") or b"{}"))
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            lost = event.activity_task_failed_event_attributes
            step = scheduled[lost.scheduled_event_id]
            step.state, step.closed, step.error = "failed", _time(event), _type(lost.failure)
            for payload in lost.failure.application_failure_info.details.payloads:
                detail: Any = json.loads(payload.data)
                _spend(step, detail.get("usage") or {})
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
            step = scheduled[event.activity_task_canceled_event_attributes.scheduled_event_id]
            step.state, step.closed = "cancelled", _time(event)
        elif kind == EventType.EVENT_TYPE_MARKER_RECORDED:
            marker = event.marker_recorded_event_attributes
            if marker.marker_name == "core_local_activity":
                told.steps.append(
                    _local(workflow, json.loads(marker.details["data"].payloads[0].data), tasks[-1])
                )
        elif kind in ENDS:
            told.state, told.closed = ENDS[kind], _time(event)
            if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
                told.error = _type(event.workflow_execution_failed_event_attributes.failure)
                if told.error == "RunTimedOut":
                    told.state = "timed_out"
            elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
                told.error = "TerminatedError"
    undone = {step.id.removeprefix("compensate:") for step in told.steps
              if step.id.startswith("compensate:") and step.state == "completed"}  # fmt: skip
    for step in told.steps:
        if step.id in undone:
            step.state = "compensated"
        elif step.state == "pending" and told.closed:
            step.state = "cancelled"
    return told


def _local(workflow: str, data: dict[str, Any], task: datetime) -> SlowStep:
    """These runs have one local step at most, the first thing in a task."""
    scheduled = _parts(data["original_schedule_time"])
    took = _parts(data["complete_time"]) - min(task, scheduled) if data["complete_time"] else timedelta(0)
    return SlowStep(
        workflow, data["activity_type"], data["activity_id"], local=True, state="completed",
        scheduled=scheduled, started=scheduled, closed=scheduled + took,
    )  # fmt: skip


def _spend(step: SlowStep, used: dict[str, Any]) -> None:
    step.tokens += int(used.get("tokens", 0))
    step.micros += round(used.get("cost_usd", 0) * 1_000_000)


def _type(failure: Failure) -> str:
    while failure.HasField("cause") and failure.WhichOneof("failure_info") in (
        "activity_failure_info", "child_workflow_execution_failure_info",
    ):  # fmt: skip
        failure = failure.cause
    told = failure.application_failure_info
    if told.type == "StepFailed":  # people know it as what the step raised
        return json.loads(told.details.payloads[0].data)["step_error"] or told.type
    return told.type


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(UTC)


def _parts(value: dict[str, int]) -> datetime:
    whole = datetime.fromtimestamp(value["seconds"], UTC)
    return whole + timedelta(microseconds=value.get("nanos", 0) // 1000)


# Figures


def seconds(spans: Iterable[timedelta | None]) -> list[float]:
    return sorted(span / timedelta(seconds=1) for span in spans if span is not None)


def mean(spans: Iterable[timedelta | None]) -> float | None:
    found = seconds(spans)
    return math.fsum(found) / len(found) if found else None


def quantile(spans: Iterable[timedelta | None], part: float) -> float | None:
    """Nearest rank."""
    found = seconds(spans)
    return next((value for place, value in enumerate(found, 1) if place >= part * len(found) - 1e-9), None)


def share(part: int, of: int) -> float | None:
    return part / of if of else None


def summary(runs: Sequence[SlowRun]) -> dict[str, Any]:
    closed = [run for run in runs if run.state in CLOSED]
    steps = [step for run in runs for step in run.steps]
    return {
        "total": len(runs),
        "by_state": dict(Counter(run.state for run in runs)),
        "open": len(runs) - len(closed),
        "success_rate": share(sum(run.state == "completed" for run in runs), len(closed)),
        "retry_rate": share(sum(run.retries > 0 for run in runs), len(runs)),
        "retries": sum(run.retries for run in runs),
        "failed_steps": sum(step.failed for step in steps),
        "mean_seconds": mean(run.took for run in runs),
        "p50_seconds": quantile((run.took for run in runs), 0.5),
        "p95_seconds": quantile((run.took for run in runs), 0.95),
        "p99_seconds": quantile((run.took for run in runs), 0.99),
        "queue_wait_p50_seconds": quantile((run.waited for run in runs), 0.5),
        "queue_wait_p95_seconds": quantile((run.waited for run in runs), 0.95),
        "queue_wait_p99_seconds": quantile((run.waited for run in runs), 0.99),
        "tokens": sum(step.tokens for step in steps),
        "cost_usd": sum(step.micros for step in steps) / 1e6,
        "quantiles": "exact",
        "queue_wait_quantiles": "exact",
        "sampled": None,
    }


def grouped(runs: Sequence[SlowRun], key: Callable[[SlowRun], Any]) -> dict[Any, list[SlowRun]]:
    found: dict[Any, list[SlowRun]] = defaultdict(list)
    for run in runs:
        found[key(run)].append(run)
    return found


def steps(every: Iterable[SlowStep]) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], list[SlowStep]] = defaultdict(list)
    for step in every:
        found[step.workflow, step.name].append(step)
    return {place: _step(calls) for place, calls in found.items()}


def _step(calls: Sequence[SlowStep]) -> dict[str, Any]:
    closed = [call for call in calls if call.state in STEP_CLOSED]
    errors = Counter(call.error for call in calls if call.failed)
    return {
        "count": len(calls),
        "by_state": dict(Counter(call.state for call in calls)),
        "failure_rate": share(sum(call.failed for call in calls), len(closed)),
        "errors": dict(errors),
        "error_rates": {error: count / len(closed) for error, count in errors.items()},
        "attempts": sum(call.attempts for call in calls),
        "attempts_mean": sum(call.attempts for call in calls) / len(calls),
        "retried": sum(call.attempts > 1 for call in calls),
        "mean_seconds": mean(call.took for call in calls),
        "p50_seconds": quantile((call.took for call in calls), 0.5),
        "p95_seconds": quantile((call.took for call in calls), 0.95),
        "p99_seconds": quantile((call.took for call in calls), 0.99),
        "queue_wait_p50_seconds": quantile((call.waited for call in calls), 0.5),
        "queue_wait_p95_seconds": quantile((call.waited for call in calls), 0.95),
        "tokens": sum(call.tokens for call in calls),
        "cost_usd": sum(call.micros for call in calls) / 1e6,
        "sampled": None,
        "quantiles": "exact",
    }
