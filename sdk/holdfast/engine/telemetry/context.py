"""Whose code is running: the step or the run that a log message or a span is about."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, Final

from temporalio import activity, workflow

from holdfast.authoring.executors import EXECUTOR
from holdfast.engine.dag.nodes import NODE

OWN: Final = "holdfast."
"""Begins the names of the workflows and activities that Holdfast needs for itself."""

TRACE: Final = "_holdfast_trace"
"""Where a running workflow keeps the ids of its trace."""

WORKER: Final = f"{os.getpid()}@{socket.gethostname()}"


def step_name(activity_type: str) -> str | None:
    """The step that an activity type stands for; None for what Holdfast does for itself."""
    if activity_type.startswith(OWN):
        return None
    return activity_type.removeprefix(NODE).removeprefix(EXECUTOR)


def is_replaying() -> bool:
    """Whether workflow code runs again only to get back to where it was."""
    return workflow.in_workflow() and workflow.unsafe.is_replaying_history_events()


def log_context() -> dict[str, Any]:
    """What a message of the running code is about: `run_id`, `execution_id`, `workflow`, `step`, `attempt`, `worker`,
    `trace_id`, as far as there are any. Empty outside of steps and workflows."""
    if activity.in_activity():
        info = activity.info()
        found: dict[str, Any] = {
            "run_id": info.workflow_id,
            "execution_id": info.workflow_run_id,
            "workflow": info.workflow_type,
            "step": step_name(info.activity_type) or info.activity_type,
            "attempt": info.attempt,
            "worker": WORKER,
        }
        if trace := _current_trace():
            found["trace_id"] = trace
        return found
    if workflow.in_workflow():
        run = workflow.info()
        found = {
            "run_id": run.workflow_id,
            "execution_id": run.run_id,
            "workflow": run.workflow_type,
            "worker": WORKER,
        }
        trace_of_run = getattr(workflow.instance(), TRACE, None)
        if trace_of_run is not None:
            found["trace_id"] = f"{trace_of_run.trace_id:032x}"
        return found
    return {}


def _current_trace() -> str | None:
    """The trace of the current span, where OpenTelemetry is used at all."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    trace_id: int = trace.get_current_span().get_span_context().trace_id
    return f"{trace_id:032x}" if trace_id else None
