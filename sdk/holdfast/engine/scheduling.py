"""One activity of a run, plain or local, as Temporal is asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RawValue
from temporalio.common import RetryPolicy as TemporalRetryPolicy
from temporalio.exceptions import ActivityError

from holdfast.engine.ending import finished
from holdfast.engine.failures import count_attempts, held_by_breaker, is_unregistered, not_its_turn
from holdfast.options import MINUTE, RetryPolicy, StepOptions

_FIRST_LOOK, _LAST_LOOK = timedelta(seconds=2), timedelta(minutes=5)
"""How long to wait until a step that no worker knew is scheduled again."""


async def run_local(name: str, activity_id: str, args: Sequence[RawValue], options: StepOptions) -> RawValue:
    """Run a local step."""
    local = workflow.start_local_activity(
        name,
        args=args,
        result_type=RawValue,
        activity_id=activity_id,
        start_to_close_timeout=options.attempt_timeout,
        local_retry_threshold=MINUTE,
        retry_policy=_temporal_retry(options.retry),
        summary=options.summary,
    )
    result: RawValue = await finished(local)
    return result


async def run_plain(name: str, activity_id: str, args: Sequence[RawValue], options: StepOptions) -> RawValue:
    """Run a plain step. Where its attempts went to workers that do not know it, as in the middle of a deploy, it
    is scheduled again until one does: no attempt was made."""
    delay, before = _FIRST_LOOK, 0
    while True:
        try:
            served = workflow.start_activity(
                name,
                args=args,
                result_type=RawValue,
                activity_id=activity_id,
                task_queue=options.queue,
                start_to_close_timeout=options.attempt_timeout,
                heartbeat_timeout=options.heartbeat_timeout,
                retry_policy=_temporal_retry(options.retry, before),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
                if options.heartbeat_timeout
                else workflow.ActivityCancellationType.TRY_CANCEL,
                summary=options.summary,
                priority=Priority(priority_key=options.priority) if options.priority else Priority.default,
            )
            result: RawValue = await finished(served)
            return result
        except ActivityError as exc:
            if (seconds := not_its_turn(exc)) is not None:
                why = "waits for its turn under a limit"
                if (held := held_by_breaker(exc)) is not None:
                    before += held[1]
                    why = f"waits for the circuit breaker {held[0]!r}"
                await workflow.sleep(seconds, summary=f"{activity_id} {why}")
                continue
            if not is_unregistered(exc):
                count_attempts(exc, before)
                raise
        await workflow.sleep(delay, summary=f"no worker found that knows step {name}")
        delay = min(2 * delay, _LAST_LOOK)


def _temporal_retry(retry: RetryPolicy, before: int = 0) -> TemporalRetryPolicy:
    return TemporalRetryPolicy(
        initial_interval=retry.first_delay,
        backoff_coefficient=retry.backoff,
        maximum_interval=retry.max_delay,
        maximum_attempts=max(retry.max_attempts - before, 1) if retry.max_attempts else 0,
        non_retryable_error_types=retry.non_retryable_names or None,
    )
