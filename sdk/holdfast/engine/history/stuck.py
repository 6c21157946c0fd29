"""Why a run cannot go on: a workflow task that fails again and again, or a queue without workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import (
    PendingActivityState,
    PendingWorkflowTaskState,
    TaskQueueType,
    VersioningBehavior,
    WorkflowExecutionStatus,
    WorkflowTaskFailedCause,
)
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeWorkflowExecutionResponse
from temporalio.client import Client

from holdfast.client.description import ErrorInfo
from holdfast.engine.history.facts import TaskFailure
from holdfast.engine.history.payloads import Opened, failure_payloads, open_payloads
from holdfast.engine.history.text import shortened, span
from holdfast.engine.history.timeline import read_events
from holdfast.engine.history.times import when

TAKEN_WITHIN = timedelta(seconds=1)
"""A task that waits no longer than this is on its way."""
ASKED_WITHIN = timedelta(seconds=15)
"""A worker with room asks for a task again at once, and what was meant for a worker's cache comes back after 10 s: a
task that nobody asked for in this time has nobody to take it."""
SEEN_WITHIN = timedelta(seconds=75)
"""A worker without work asks once a minute; the server lists it for five minutes after its end."""
_QUEUES = 10
_TIMEOUTS_TO_TELL = 3
_MENDED = "The run goes on by itself once mended"

_HARMLESS = frozenset(
    {
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_UPDATE,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FAILOVER_CLOSE_COMMAND,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
        WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED,
    }
)
"""Causes by which the server itself asks for the task once more."""


async def why_stuck(
    client: Client,
    description: DescribeWorkflowExecutionResponse,
    tail: Iterable[HistoryEvent],
    *,
    now: datetime | None = None,
) -> str | None:
    """Why an open run cannot go on, and what to do.

    Args:
        client: For questions about queues.
        description: The server's answer to a describe request.
        tail: The last events of its history, in their order: at least those since the last completed workflow task.
        now: The time to compute ages with; default: this machine's.

    Returns:
        One or two sentences, or `None` if the run is closed or can go on.
    """
    return await reason(client, description, read_events(tail).task_failure, now=now)


async def reason(
    client: Client,
    description: DescribeWorkflowExecutionResponse,
    failure: TaskFailure | None,
    *,
    now: datetime | None = None,
) -> str | None:
    """As `why_stuck`, for a history that was read already."""
    info, now = description.workflow_execution_info, now or datetime.now(UTC)
    if info.status != WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING:
        return None
    if failure is not None:
        hidden = failure_payloads(failure.failed.failure if failure.failed else None)
        opened = await open_payloads(client.data_converter, hidden)
        if found := failing_task(description, failure, opened):
            return found
    return (
        await _unregistered_step(client, description)
        or await _nobody_takes_the_run(client, description, now)
        or await _nobody_takes_a_step(client, description, now)
    )


def failing_task(
    description: DescribeWorkflowExecutionResponse, failure: TaskFailure, opened: Opened
) -> str | None:
    """Why the last workflow task failed, if that holds up the run."""
    if failure.failed is None:
        attempts = max(failure.attempt, description.pending_workflow_task.attempt - 1)
        if attempts < _TIMEOUTS_TO_TELL:
            return None
        return (
            f"a worker takes the run's workflow task and does not answer ({attempts} times so far): it crashes, has "
            f"no memory left, or workflow code blocks it. See the worker's log. {_MENDED}."
        )
    if failure.failed.cause in _HARMLESS:
        return None
    error = opened.error(failure.failed.failure)
    return _explain(failure.failed.cause, error, description)


def _explain(
    cause: WorkflowTaskFailedCause.ValueType, error: ErrorInfo, description: DescribeWorkflowExecutionResponse
) -> str:
    info = description.workflow_execution_info
    message = shortened(error.message).rstrip(".")
    causes = WorkflowTaskFailedCause
    if cause == causes.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR or "TMPRL1100" in message:
        return (
            f"the workflow's code no longer fits its history (non-determinism): {message}. Roll back, or let the run "
            f"finish under the old code. {_MENDED}."
        )
    if "TMPRL1101" in message or "deadlock" in message.lower():
        return (
            f"workflow code blocked the worker's loop: {message}. Do blocking work and long computation in a step. "
            f"{_MENDED}."
        )
    if _not_registered(error):
        return (
            f"the workers on queue {info.task_queue!r} do not know workflow {info.type.name!r}: {message}. Start a "
            f"worker with it there. {_MENDED}."
        )
    if cause == causes.WORKFLOW_TASK_FAILED_CAUSE_EXTERNAL_STORAGE_FAILURE or _unreadable(error):
        return (
            f"the worker cannot read a payload of the run: {error.type}: {message}. Give the workers the keys and the "
            f"storage that it was written with. {_MENDED}."
        )
    if cause == causes.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE:
        return f"its workflow task fails on every attempt with {error.type}: {message}. {_MENDED}."
    name = causes.Name(cause) if cause in causes.values() else str(cause)
    named = name.removeprefix("WORKFLOW_TASK_FAILED_CAUSE_").replace("_", " ").lower()
    return f"the server refuses what the workflow asks for ({named}): {message}. {_MENDED}."


def _not_registered(error: ErrorInfo) -> bool:
    # The words of the SDKs for Python and TypeScript, Java, and Go.
    text = error.message.lower()
    return (
        "not registered" in text
        or "unable to find workflow type" in text
        or "unable to find activitytype" in text
    )


def _unreadable(error: ErrorInfo) -> bool:
    text = f"{error.type} {error.message}".lower()
    return any(
        word in text
        for word in ("decrypt", "encrypt", "compressed payload", "codec", "tmprl1105", "tmprl1106", "blob")
    )


async def _unregistered_step(client: Client, description: DescribeWorkflowExecutionResponse) -> str | None:
    for pending in description.pending_activities:
        failure = pending.last_failure
        if failure.application_failure_info.type not in {"NotFoundError", "ActivityNotRegisteredError"}:
            continue
        opened = await open_payloads(client.data_converter, failure_payloads(failure))
        error = opened.error(failure)
        if _not_registered(error):
            return (
                f"the workers on queue {_queue(pending, description)!r} do not know step "
                f"{pending.activity_type.name!r}: {shortened(error.message).rstrip('.')}. Start a worker "
                f"that imports it. {_MENDED}."
            )
    return None


# Queues


@dataclass(frozen=True, slots=True)
class _Pollers:
    found: Sequence[PollerInfo]
    now: datetime

    @property
    def seen(self) -> datetime | None:
        return max((when(poller.last_access_time) for poller in self.found), default=None)

    @property
    def alive(self) -> bool:
        return self.seen is not None and self.now - self.seen <= SEEN_WITHIN

    def last(self) -> str:
        return f", the last one was here {span(self.now - self.seen)} ago" if self.seen else ""


async def _nobody_takes_the_run(
    client: Client, description: DescribeWorkflowExecutionResponse, now: datetime
) -> str | None:
    task, info = description.pending_workflow_task, description.workflow_execution_info
    if task.state != PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
        return None
    scheduled = when(task.scheduled_time)
    if now - scheduled < TAKEN_WITHIN:
        return None
    pollers = await _pollers(client, info.task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, now)
    which = ""
    if info.versioning_info.behavior == VersioningBehavior.VERSIONING_BEHAVIOR_PINNED:
        build = info.versioning_info.deployment_version.build_id
        which = f" of build {build!r}"
        pollers = _Pollers([p for p in pollers.found if p.deployment_options.build_id == build], now)
    if not pollers.alive:
        return (
            f"no worker{which} polls queue {info.task_queue!r}{pollers.last()}. Start one with workflow "
            f"{info.type.name!r}. {_MENDED}."
        )
    if now - scheduled > ASKED_WITHIN and pollers.seen is not None and pollers.seen < scheduled:
        return (
            f"no worker{which} has asked queue {info.task_queue!r} for work since "
            f"{span(now - pollers.seen)}: it is gone, or blocked. Start another or see its log. {_MENDED}."
        )
    return None


async def _nobody_takes_a_step(
    client: Client, description: DescribeWorkflowExecutionResponse, now: datetime
) -> str | None:
    due: dict[str, PendingActivityInfo] = {}
    for pending in description.pending_activities:
        if pending.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            continue
        again = pending.next_attempt_schedule_time
        if now - when(again if again.seconds > 0 else pending.scheduled_time) >= TAKEN_WITHIN:
            due.setdefault(_queue(pending, description), pending)
    for queue, pending in list(due.items())[:_QUEUES]:
        pollers = await _pollers(client, queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY, now)
        if pollers.alive or await _busy(client, queue, pollers):
            continue
        return (
            f"no worker polls queue {queue!r}{pollers.last()}, and step {pending.activity_type.name!r} waits there. "
            f"Start one. {_MENDED}."
        )
    return None


async def _busy(client: Client, queue: str, steps: _Pollers) -> bool:
    """Whether the workers that took steps still take workflow tasks: then their step slots are only full."""
    known = {poller.identity for poller in steps.found}
    if not known:
        return False
    tasks = await _pollers(client, queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, steps.now)
    return _Pollers([poller for poller in tasks.found if poller.identity in known], steps.now).alive


async def _pollers(client: Client, queue: str, kind: TaskQueueType.ValueType, now: datetime) -> _Pollers:
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
    )
    return _Pollers(answer.pollers, now)


def _queue(pending: PendingActivityInfo, description: DescribeWorkflowExecutionResponse) -> str:
    return pending.activity_options.task_queue.name or description.workflow_execution_info.task_queue
