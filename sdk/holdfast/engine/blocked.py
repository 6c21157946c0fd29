"""Names the workflow whose code holds its thread: Temporal's own report has an execution id and a long stack."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType
from typing import Any

from temporalio.worker import Worker

_DEADLOCK = "TMPRL1101"
_HELD_SECONDS = 8
"""How long workflow code may hold its thread; Temporal gives up on a task after ten. Its SDK's own two seconds are soon
over on a busy machine, where the first task of a large DAG takes half a second of computing, and a run that is given up
in the middle of a task may never come back."""

logger = logging.getLogger("holdfast.worker")


def be_patient(worker: Worker) -> None:
    """Give workflow code its time. The setting is not public: without it, Temporal's own stays."""
    inner = getattr(worker, "_workflow_worker", None)
    if getattr(inner, "_deadlock_timeout_seconds", None) is not None:
        setattr(inner, "_deadlock_timeout_seconds", _HELD_SECONDS)  # noqa: B010 - of an object without a type


def _not_a_blocked_workflow(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is None or _DEADLOCK not in str(error):
        return True
    info = _info(error.__traceback__)
    if info is None:
        return True
    logger.error(
        "workflow %r of run %s holds its thread (%s), so the worker gave up on it for now and will try again: in a "
        "workflow, compute and wait only in steps",
        info.workflow_type,
        info.workflow_id,
        _place(error.__traceback__),
    )
    return False


def _info(stack: TracebackType | None) -> Any:
    """Of the run, from the frame of Temporal's that drives it. It is not public: without it, its own report stays."""
    for frame, _ in traceback.walk_tb(stack):
        if frame.f_code.co_name == "activate":
            get_info = getattr(frame.f_locals.get("self"), "get_info", None)
            if get_info is not None:
                return get_info()
    return None


def _place(stack: TracebackType | None) -> str:
    # Temporal builds this stack the other way round: the innermost frame comes first.
    frames = traceback.extract_tb(stack)
    return f"{frames[0].filename}:{frames[0].lineno} in {frames[0].name}" if frames else "no frames"


logging.getLogger("temporalio.worker._workflow").addFilter(_not_a_blocked_workflow)
