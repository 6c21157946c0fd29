"""Exceptions on their way through Temporal: out of a step, into workflow code, out of a run, into the client."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    TimeoutError,
    TimeoutType,
)
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

from holdfast.engine.data.values import is_object
from holdfast.errors import (
    FixInput,
    HoldfastError,
    NonDeterministic,
    Permanent,
    RateLimited,
    RetryAfter,
    RunCancelled,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    StepFailed,
    TryAgain,
    error_types,
)
from holdfast.options import RetryPolicy

ATTEMPT = "attempt"
_USAGE = "usage"
"""Key of the attempt number in the details of a step's failure."""

LIMITED = "holdfast.limited"
"""The type of the failure with which a step that waits for its turn leaves its worker; the detail is for how long."""

NOT_BEFORE = "_holdfast_not_before"
"""Attribute of an exception: the seconds for which an open circuit breaker keeps the next attempt from beginning."""

BREAKER_KEY = "breaker"
"""Key of the breaker in a further detail of such a failure, beside the attempts that were made before it."""

NOTHING_DONE = "nothing_done"
"""Key in those details for an attempt without effect: it raised `Permanent`, or its function was not called."""

_INSTEAD = {
    "random": "holdfast.random()",
    "secrets": "holdfast.random()",
    "uuid": "holdfast.uuid4()",
    "time.sleep": "await asyncio.sleep(...)",
    "time": "holdfast.now()",
    "datetime": "holdfast.now()",
    "threading": "asyncio.gather(...)",
}


_SENTENCE_CHARACTERS = 500
"""Of what is said about one failed compensation; a run may have hundreds."""


def step_failure(
    exc: BaseException,
    retry: RetryPolicy,
    attempt: int,
    *,
    called: bool = True,
    usage: Mapping[str, float] | None = None,
) -> ApplicationError:
    """The failure that a step's exception becomes; it decides on the next attempt.

    Args:
        exc: What the step raised.
        retry: The policy in force, for the delay's jitter.
        attempt: The number of this attempt, from 1.
        called: Whether the step's function was called.
        usage: What this attempt used up all the same, by unit.
    """
    if isinstance(exc, ApplicationError):
        return exc
    message = exc.message if isinstance(exc, HoldfastError) else str(exc)
    permanent = isinstance(exc, Permanent | FixInput) or (
        isinstance(exc, HoldfastError) and not isinstance(exc, TryAgain)
    )
    # The server knows the exception's own name only, and a policy may name what it derives from.
    permanent = permanent or not {cls.__name__ for cls in type(exc).__mro__}.isdisjoint(
        retry.non_retryable_names
    )
    delay: timedelta | None = None
    if isinstance(exc, RetryAfter):
        delay = exc.delay
    elif isinstance(exc, RateLimited) and exc.retry_after is not None:
        delay = exc.retry_after
    elif not permanent and retry.jitter:
        delay = _jittered(retry, attempt)
    if not permanent and (seconds := float(getattr(exc, NOT_BEFORE, 0.0))):
        delay = max(delay or _jittered(retry, attempt), timedelta(seconds=seconds))
    return ApplicationError(
        message or type(exc).__name__,
        {
            ATTEMPT: attempt,
            **({NOTHING_DONE: True} if isinstance(exc, Permanent) or not called else {}),
            **({_USAGE: dict(usage)} if usage else {}),
        },
        type=type(exc).__name__,
        non_retryable=permanent,
        next_retry_delay=delay,
    )


def _jittered(retry: RetryPolicy, attempt: int) -> timedelta:
    seconds = retry.first_delay.total_seconds()
    # Step by step: the power of a long series would overflow a float.
    for _ in range(attempt - 1):
        seconds *= retry.backoff
        if seconds >= retry.max_delay.total_seconds():
            break
    seconds = min(seconds, retry.max_delay.total_seconds())
    return timedelta(seconds=seconds * (1 + retry.jitter * random.uniform(-1, 1)))


def outcome_unknown(exc: BaseException) -> bool:
    """Whether a failed step may have had its effect: always, except when its first attempt raised `Permanent` or
    ended before its function was called."""
    cause = exc.__cause__
    if not isinstance(exc, StepFailed) or not isinstance(cause, ApplicationError):
        return True
    nothing_done = any(is_object(detail) and detail.get(NOTHING_DONE) for detail in cause.details)
    return not (cause.non_retryable and exc.attempts == 1 and nothing_done)


def failed_usage(exc: BaseException) -> Mapping[str, float]:
    """What the last attempt of a failed step used up, by unit."""
    cause = exc.__cause__ if isinstance(exc, StepFailed) else None
    for detail in cause.details if isinstance(cause, ApplicationError) else ():
        if is_object(detail) and is_object(used := detail.get(_USAGE)):
            return used
    return {}


def step_failed(error: FailureError, step: str) -> BaseException:
    """What workflow code gets for a step that ended without a result."""
    cause = error.__cause__ if isinstance(error, ActivityError) else error
    if isinstance(cause, CancelledError):
        return asyncio.CancelledError(f"step {step!r} was cancelled")
    if isinstance(cause, ApplicationError):
        attempts = attempt_of(cause)
        times = f" after {attempts} attempts" if attempts and attempts > 1 else ""
        failed = StepFailed(
            f"step {step!r} failed{times}: {cause.type}: {cause.message}",
            step=step,
            error_type=cause.type or "",
            attempts=attempts,
        )
    elif isinstance(cause, TimeoutError):
        failed = StepFailed(
            f"step {step!r} timed out: {_timeout(cause)}", step=step, error_type="TimeoutError"
        )
    else:
        failed = StepFailed(f"step {step!r} failed: {cause}", step=step, error_type=type(cause).__name__)
    failed.__cause__ = cause
    return failed


def is_unregistered(error: ActivityError) -> bool:
    """Whether the last attempt went to a worker that does not know the step; its code did not begin."""
    cause = error.__cause__
    return (
        isinstance(cause, ApplicationError)
        and cause.type == "NotFoundError"
        and "is not registered on this worker" in cause.message
    )


def not_its_turn(error: ActivityError) -> float | None:
    """The seconds for which a step left its worker, since it has to wait for its turn under a limit; its code did not
    begin. None for what failed otherwise."""
    cause = error.__cause__
    if isinstance(cause, ApplicationError) and cause.type == LIMITED:
        return float(cause.details[0])
    return None


def held_by_breaker(error: ActivityError) -> tuple[str, int] | None:
    """The breaker that keeps a step from beginning, and how many attempts it made before; None for other reasons."""
    cause = error.__cause__
    for detail in cause.details if isinstance(cause, ApplicationError) else ():
        if is_object(detail) and isinstance(key := detail.get(BREAKER_KEY), str):
            return key, int(detail.get(ATTEMPT, 0))
    return None


def count_attempts(error: ActivityError, before: int) -> None:
    """Count attempts that were made before a step was scheduled again, in the failure of its last one."""
    cause = error.__cause__
    if not before or not isinstance(cause, ApplicationError):
        return
    details = [
        {**detail, ATTEMPT: before + int(detail[ATTEMPT])}
        if is_object(detail) and ATTEMPT in detail
        else detail
        for detail in cause.details
    ]
    counted = ApplicationError(
        cause.message,
        *details,
        type=cause.type,
        non_retryable=cause.non_retryable,
        next_retry_delay=cause.next_retry_delay,
        category=cause.category,
    )
    counted.__cause__ = cause.__cause__
    error.__cause__ = counted


def is_limited(failure: Failure) -> bool:
    """Whether a failure in a history stands for a step that waits for its turn under a limit."""
    return failure.application_failure_info.type == LIMITED


def attempt_of(error: ApplicationError) -> int | None:
    """The attempt number recorded in a step's failure."""
    for detail in error.details:
        if is_object(detail) and isinstance(detail.get(ATTEMPT), int):
            return int(detail[ATTEMPT])
    return None


def _timeout(error: TimeoutError) -> str:
    match error.type:
        case TimeoutType.HEARTBEAT:
            return "its worker stopped without a word, on every attempt"
        case TimeoutType.START_TO_CLOSE:
            return "each attempt ran longer than its timeout"
        case TimeoutType.SCHEDULE_TO_START:
            return "no worker took it"
        case _:
            return error.message


def child_failed(error: ChildWorkflowError, child: str) -> BaseException:
    """What workflow code gets for a child run that ended without a result."""
    cause = error.__cause__
    if isinstance(cause, CancelledError):
        cancelled = RunCancelled(
            f"child run {child!r} was cancelled", run_id=child, error_type="RunCancelled"
        )
        cancelled.__cause__ = cause
        return cancelled
    return _run_failed(cause, child, f"child run {child!r}")


def run_failed(error: WorkflowFailureError, run_id: str) -> RunFailed:
    """What a client gets for a run that ended without a result."""
    return _run_failed(error.cause, run_id, f"run {run_id!r}")


def _run_failed(cause: BaseException | None, run_id: str, what: str) -> RunFailed:
    failed: RunFailed
    if isinstance(cause, CancelledError):
        failed = RunCancelled(f"{what} was cancelled", run_id=run_id, error_type="RunCancelled")
    elif isinstance(cause, TerminatedError):
        reason = f": {cause.message}" if cause.message else ""
        failed = RunTerminated(f"{what} was terminated{reason}", run_id=run_id, error_type="RunTerminated")
    elif isinstance(cause, TimeoutError):
        failed = RunTimedOut(f"{what} exceeded its timeout", run_id=run_id, error_type="RunTimedOut")
    elif isinstance(cause, ApplicationError):
        cls = RunTimedOut if cause.type == "RunTimedOut" else RunFailed
        named = "" if cause.type in (None, "StepFailed", "RunTimedOut", "RunFailed") else f"{cause.type}: "
        failed = cls(f"{what} failed: {named}{cause.message}", run_id=run_id, error_type=cause.type or "")
        failed.details.update(_details(cause))
    else:
        failed = RunFailed(f"{what} failed: {cause}", run_id=run_id, error_type=type(cause).__name__)
    failed.__cause__ = cause
    return failed


def _details(cause: ApplicationError) -> dict[str, Any]:
    empty: dict[str, Any] = {}
    return next((dict(detail) for detail in cause.details if is_object(detail)), empty)


def run_failure(exc: BaseException, failed_compensations: list[str]) -> ApplicationError:
    """The failure with which a run ends after user code raised `exc`."""
    if isinstance(exc, RestrictedWorkflowAccessError):
        exc = non_deterministic(exc)
    elif isinstance(exc, NotImplementedError):
        exc = _outside_the_loop(exc) or exc
    if isinstance(exc, ApplicationError) and not failed_compensations:
        return exc
    message = exc.message if isinstance(exc, HoldfastError) else str(exc)
    if isinstance(exc, asyncio.CancelledError):
        message = message or "the run was cancelled"
    details: dict[str, Any] = {}
    if isinstance(exc, StepFailed):
        details = {"step": exc.step, "step_error": exc.error_type}
    if failed_compensations:
        failed_compensations = [sentence[:_SENTENCE_CHARACTERS] for sentence in failed_compensations]
        details["failed_compensations"] = failed_compensations
        message = f"{message}; compensation failed too: {'; '.join(failed_compensations)}"
    failure = ApplicationError(
        message or type(exc).__name__,
        *([details] if details else []),
        type=exc.type if isinstance(exc, ApplicationError) else type(exc).__name__,
        non_retryable=True,
    )
    # StepFailed is our wrapping of the cause: the chain that people read goes straight to what the step raised.
    failure.__cause__ = exc.__cause__ if isinstance(exc, StepFailed) else exc
    return failure


def non_deterministic(exc: RestrictedWorkflowAccessError) -> NonDeterministic:
    """The error for workflow code that used a clock, chance or I/O, with what to use instead."""
    name = exc.qualified_name.removeprefix("__builtins__.").removesuffix(".__call__")
    instead = next((use for key, use in _INSTEAD.items() if name == key or name.startswith(f"{key}.")), None)
    advice = f"use {instead}" if instead else "do it in a step"
    error = NonDeterministic(
        f"{name} gives another answer when a run is replayed, so workflow code cannot use it: {advice}"
    )
    error.__cause__ = exc
    return error


def _outside_the_loop(exc: NotImplementedError) -> NonDeterministic | None:
    """The error for workflow code that asked its event loop for a thread, a socket or a process: Temporal's loop leaves
    those methods of asyncio's base class as they are, without a message."""
    frames = traceback.extract_tb(exc.__traceback__)
    if not frames or frames[-1].filename != asyncio.events.__file__:
        return None
    error = NonDeterministic(
        f"{frames[-1].name} is not there in workflow code, which has no threads, sockets and processes: do it in a step"
    )
    error.__cause__ = exc
    return error


def rebuilt(error: ApplicationError) -> HoldfastError | None:
    """The Holdfast error that an ApplicationError of that type carries, if it is one."""
    for cls in error_types().values():
        if cls.__name__ == error.type:
            return cls(error.message)
    return None
