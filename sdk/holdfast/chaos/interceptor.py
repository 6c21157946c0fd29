"""Faults that happen to the steps of a worker: between Temporal and the step, never in workflow code."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from holdfast.chaos.control import Control, Order, check_allowed, is_local
from holdfast.chaos.faults import Attempt, Faults
from holdfast.chaos.plan import Fault, FaultKind, FaultPlan
from holdfast.chaos.profiles import Profile
from holdfast.engine.failures import ATTEMPT, NOTHING_DONE
from holdfast.engine.telemetry.context import step_name
from holdfast.errors import InvalidConfiguration

if TYPE_CHECKING:
    from holdfast.client.client import Client

logger = logging.getLogger("holdfast.chaos")


_AFTER_TIMEOUT: Final = timedelta(seconds=1)
"""How long a silent attempt waits beyond its timeout, so that the server has given it up by then."""


class ChaosError(Exception):
    """An attempt was failed on purpose; the `error_type` of a step of which all attempts were."""


class ChaosInterceptor(Interceptor):
    """Lets faults happen to the attempts of one worker.

    Args:
        faults: Which.
        may_crash: Whether a crash may end this process, asked each time.
        silence: Ends the beats of an attempt, by its token.
    """

    def __init__(
        self, faults: Faults, *, may_crash: Callable[[], bool], silence: Callable[[bytes], None]
    ) -> None:
        self.faults = faults
        self.may_crash = may_crash
        self.silence = silence

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _DisturbedAttempt(next, self)


def chaos_of(
    client: Client,
    chaos: Profile | FaultPlan | str | None,
    *,
    seed: int | None,
    allow_chaos: bool,
    may_crash: Callable[[], bool],
    silence: Callable[[bytes], None],
) -> list[ChaosInterceptor]:
    """The interceptor of a worker; none where chaos cannot come.

    Raises:
        NotAllowed: Chaos in a cluster that is not on this machine.
        InvalidConfiguration: No profile has this name, or options clash.
    """
    if seed is not None and (chaos is None or isinstance(chaos, FaultPlan)):
        raise InvalidConfiguration("seed= goes with chaos= and a profile; a FaultPlan has its own")
    plan = None
    if chaos is not None:
        check_allowed(client.address, allow_chaos=allow_chaos)
        drawn = secrets.randbelow(1_000_000) if seed is None else seed
        plan = chaos if isinstance(chaos, FaultPlan) else FaultPlan(chaos, drawn)
        logger.warning("chaos: profile %s, seed %d", plan.profile.name, plan.seed)
    elif not (allow_chaos or is_local(client.address)):
        return []
    faults = Faults(Control(client.chaos.folder), plan)
    return [ChaosInterceptor(faults, may_crash=may_crash, silence=silence)]


class _DisturbedAttempt(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, chaos: ChaosInterceptor) -> None:
        super().__init__(next)
        self._chaos = chaos

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        step = step_name(info.activity_type)
        if step is None:  # Holdfast's own
            return await super().execute_activity(input)
        attempt = Attempt(
            run_id=info.workflow_id or "", step=step, call=info.activity_id, number=info.attempt
        )
        chosen = self._chosen(attempt, info)
        if chosen is not None and not chosen[0].after:
            await self._happen(*chosen, attempt, info)
        result = await super().execute_activity(input)
        if chosen is not None and chosen[0].after:
            await self._happen(*chosen, attempt, info)
        if info.attempt > 1 or chosen is not None:
            await asyncio.to_thread(self._chaos.faults.completed, attempt)
        return result

    def _chosen(self, attempt: Attempt, info: activity.Info) -> tuple[Fault, Order | None] | None:
        chosen = self._chaos.faults.of_attempt(attempt)
        if chosen is None:
            return None
        kind = chosen[0].kind
        # The server knows of no silence of a local step: it would only hold the workflow task for minutes.
        possible = not (kind is FaultKind.TIMEOUT and info.is_local)
        possible = possible and (kind is not FaultKind.CRASH or self._chaos.may_crash())
        return chosen if possible else None

    async def _happen(self, fault: Fault, order: Order | None, attempt: Attempt, info: activity.Info) -> None:
        if not await asyncio.to_thread(self._chaos.faults.begin, fault, order, attempt):
            return
        moment = "after" if fault.after else "before"
        logger.warning(
            "chaos: %s %s step %s of run %s (attempt %d)",
            *(fault.kind.value, moment, attempt.step, attempt.run_id, attempt.number),
        )
        match fault.kind:
            case FaultKind.CRASH:
                _kill()
            case FaultKind.TIMEOUT:
                self._chaos.silence(info.task_token)
                await asyncio.sleep(_silent_for(info).total_seconds())
                raise _failure(fault, attempt) from ChaosError("went silent until Temporal gave it up")
            case FaultKind.LATENCY:
                await asyncio.sleep(fault.duration.total_seconds())
            case _:
                raise _failure(fault, attempt) from ChaosError("failed on purpose")


def _silent_for(info: activity.Info) -> timedelta:
    limits = (info.heartbeat_timeout, info.start_to_close_timeout)
    return min(limit for limit in (*limits, timedelta(days=1)) if limit) + _AFTER_TIMEOUT


def _failure(fault: Fault, attempt: Attempt) -> ApplicationError:
    details: dict[str, Any] = {ATTEMPT: attempt.number, **({} if fault.after else {NOTHING_DONE: True})}
    return ApplicationError("chaos has failed this attempt", details, type=ChaosError.__name__)


def _kill() -> None:
    """End this process as the kernel does when memory is short: nothing is told to anybody."""
    # Windows has no SIGKILL; there any signal ends the process at once.
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
