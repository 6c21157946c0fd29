"""A worker's side of circuit breakers: who may call, and how calls ended.

A call whose service works tells nothing. Failures are told to the key's run, which answers for how long nobody is to
call. What others have found out is read in the background, at most every two seconds for a key in use, and once before
the first call of a worker that has not used the key lately.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import CancelledError, TemporalError
from temporalio.service import RPCError

from holdfast.breaking import Breaker
from holdfast.engine.breaker_run import BREAKER, LEASE_SECONDS, PREFIX, STATE_MEMO, Said, What
from holdfast.engine.failures import NOT_BEFORE, step_failure
from holdfast.engine.not_yet import NotYet
from holdfast.errors import InvalidInput
from holdfast.options import RetryPolicy

logger = logging.getLogger("holdfast.worker")

_LOOK_SECONDS: Final = 2.0
_LATELY_SECONDS: Final = 30.0
"""Who has not looked for so long does so before it calls."""

_IN_PLACE_SECONDS: Final = 3.0
"""Who has to wait longer leaves its worker's slot to others meanwhile."""

_IN_PLACE: Final = 5
"""Steps of a worker that wait in place for one breaker at a time. All others leave at once: while a try takes long,
its many waiters would have all slots."""

_BACK_SECONDS: Final = 5.0
"""Who leaves while another one tries comes back after so long, up to twice that: nobody knows how long a try takes."""

_ASK_SECONDS: Final = 0.5
_SPREAD: Final = 0.1
"""Those who wait for an open breaker come back within so large a share of its time, not all at once."""

_PATIENCE: Final = timedelta(seconds=10)
"""Longer than the run of a key needs to go from a killed process to another one: meanwhile all would call at once."""

_KEYS: Final = 1000
"""Keys that a worker knows of; the one that was used longest ago is forgotten."""

_KEY_BYTES: Final = 200
_QUEUE: Final = "holdfast-limits"


@dataclasses.dataclass(kw_only=True)
class _Known:
    """What this worker knows of one key."""

    until: float = 0.0
    """By the server's clock; 0 where it is closed."""
    open_until: float = 0.0
    """The same by the monotonic clock of this process, so that no two machines' clocks are compared."""
    failed: bool = False
    """Whether a failure was told that no success has followed."""
    looked: float = float("-inf")
    looking: asyncio.Task[None] | None = None
    unsure: bool = False
    """Whether nobody calls before this look has ended."""
    tried: bool = False
    """Whether another call tries whether the service is back."""
    in_place: int = 0
    """Steps that wait here for it."""
    asking: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


class Breakers:
    """The breakers that the steps of one worker meet.

    Args:
        client: Of the worker.
        serve: Lets this process serve the runs of keys.
    """

    def __init__(self, client: Client, serve: Callable[[], object]) -> None:
        self._client, self._serve = client, serve
        self._known: OrderedDict[str, _Known] = OrderedDict()

    @asynccontextmanager
    async def guard(
        self, breaker: Breaker, holder: str, attempt: int, counts: Callable[[BaseException], bool]
    ) -> AsyncGenerator[None]:
        """Begin when the breaker lets one, and tell how it ended.

        Args:
            breaker: Its key filled in.
            holder: Names the attempt.
            attempt: Its number.
            counts: Whether what was raised says that the service fails.

        Raises:
            NotYet: Nobody is to call for some time.
            InvalidInput: Its key cannot be part of a run's id.
        """
        if len(breaker.key.encode()) > _KEY_BYTES or not breaker.key.isprintable():
            raise InvalidInput(
                f"the breaker's key {breaker.key!r:.300}: use at most {_KEY_BYTES} bytes without control characters"
            )
        known = self._of(breaker.key)
        trying = await self._may_begin(breaker, known, holder, attempt)
        beats = asyncio.create_task(self._beats(breaker, known, holder)) if trying else None
        outcome: What | None = "gone" if trying else None
        try:
            yield
            outcome = "succeeded" if trying or known.failed else None
        except BaseException as exc:
            if counts(exc):
                outcome = "failed"
            elif not isinstance(exc, asyncio.CancelledError | CancelledError | NotYet):
                # It was refused for its input: the service is there.
                outcome = "succeeded" if trying or known.failed else None
            if outcome is not None:
                delay = await self._tell(breaker, known, holder, outcome)
                if delay and outcome == "failed":
                    with suppress(
                        AttributeError
                    ):  # an exception with slots: the next attempt waits by itself
                        setattr(exc, NOT_BEFORE, delay * (1 + random.uniform(0, _SPREAD)))
                outcome = None
            raise
        finally:
            if beats is not None:
                beats.cancel()
            if outcome is not None:
                await self._tell(breaker, known, holder, outcome)

    def _of(self, key: str) -> _Known:
        known = self._known.setdefault(key, _Known())
        self._known.move_to_end(key)
        if len(self._known) > _KEYS:
            self._known.popitem(last=False)
        return known

    async def _may_begin(self, breaker: Breaker, known: _Known, holder: str, attempt: int) -> bool:
        """Wait until it may; returns whether it is the one that tries."""
        at = _scheduled()
        patience = time.monotonic() + _IN_PLACE_SECONDS
        while True:
            if not known.until:
                await self._look_soon(breaker, known)
                if not known.until:
                    return False
            left = known.open_until - time.monotonic()
            if left <= 0 or at >= known.until:
                looked = known.looked
                async with known.asking:
                    if not known.until or known.looked != looked:
                        continue  # another one has found out meanwhile
                    delay = await self._tell(breaker, known, holder, "asks")
                if delay is None:
                    return bool(known.until)
                left = delay
            if known.in_place >= _IN_PLACE or left > max(patience - time.monotonic(), 0.0):
                if known.tried:
                    left = max(left, random.uniform(_BACK_SECONDS, 2 * _BACK_SECONDS))
                why = f"the circuit breaker {breaker.key!r} is open for about {left:.0f} s"
                left *= 1 + random.uniform(0, _SPREAD)
                raise NotYet(why, left, breaker=breaker.key, attempts=attempt - 1)
            known.in_place += 1
            try:
                await asyncio.sleep(min(left, _ASK_SECONDS))
            finally:
                known.in_place -= 1

    async def _beats(self, breaker: Breaker, known: _Known, holder: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await self._tell(breaker, known, holder, "tries")

    async def _tell(self, breaker: Breaker, known: _Known, holder: str, what: What) -> float | None:
        """Tell the key's run, and learn from its answer. What cannot be told keeps nobody from calling."""
        said = Said(
            what=what,
            holder=holder,
            failures=breaker.failures,
            reset=breaker.reset.total_seconds(),
            at=_scheduled(),
        )
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            BREAKER,
            args=[None],
            id=PREFIX + breaker.key,
            task_queue=_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
        self._serve()
        try:
            answer: Any = await self._client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]
                "said", dataclasses.asdict(said), start_workflow_operation=start, rpc_timeout=_PATIENCE
            )
        except (RPCError, TemporalError) as error:
            logger.warning("the breaker %r cannot be told that a call %s: %s", breaker.key, what, error)
            known.until = 0.0
            return None
        delay: float | None = answer["delay"]
        known.until = answer["until"]
        known.tried = answer["state"] == "half-open"
        known.open_until = time.monotonic() + (delay or 0.0)
        known.failed = what != "succeeded" and (known.failed or what == "failed")
        known.looked = time.monotonic()
        return delay

    async def _look_soon(self, breaker: Breaker, known: _Known) -> None:
        """Look in the background, now and then; a worker that is new to the key, and all steps that begin there at
        once, wait for it."""
        since = time.monotonic() - known.looked
        if since >= _LOOK_SECONDS and known.looking is None:
            known.unsure = since >= _LATELY_SECONDS
            known.looked = time.monotonic()
            known.looking = asyncio.create_task(self.look(breaker))
        if known.unsure and known.looking is not None:
            await asyncio.wait([known.looking])

    async def look(self, breaker: Breaker) -> None:
        """Learn whether others have found that the service fails."""
        known = self._of(breaker.key)
        try:
            with suppress(RPCError, TemporalError):  # no run: nobody has told of a failure
                run = await self._client.get_workflow_handle(PREFIX + breaker.key).describe(
                    rpc_timeout=_PATIENCE
                )
                shown: Any = await run.memo_value(STATE_MEMO, {})
                if run.close_time is None and shown.get("until"):
                    await self._tell(breaker, known, "", "gone")
        finally:
            known.looking, known.unsure = None, False


def _scheduled() -> float:
    return activity.info().current_attempt_scheduled_time.timestamp() if activity.in_activity() else 0.0


def failure_counts(retry: RetryPolicy) -> Callable[[BaseException], bool]:
    """Whether what an attempt that begins now raises says that its service fails: what would be tried again, and what
    took longer than its timeout. Not what was refused for good, nor what somebody cancelled or has to wait."""
    began = time.monotonic()

    def counts(exc: BaseException) -> bool:
        if isinstance(exc, asyncio.CancelledError | CancelledError):
            limit = activity.info().start_to_close_timeout
            return limit is not None and time.monotonic() - began >= limit.total_seconds()
        if isinstance(exc, NotYet):
            return False
        return not step_failure(exc, retry, 1).non_retryable

    return counts
