"""Beats for running steps, from a thread of their own, and a watch over the worker's loop.

A beat that left from the worker's loop would stop whenever a step blocks that loop: Temporal would then run the step,
and its neighbours, a second time while the first is still at it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import CodeType
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto import ActivityHeartbeat
from temporalio.bridge.proto.activity_task import ActivityTask
from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.common import RawValue
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    Worker,
)

from holdfast.engine.activities import StepHost
from holdfast.engine.given import ARGUMENTS, digest
from holdfast.engine.handover import Handover

logger = logging.getLogger("holdfast.worker")

_TICK = 0.5
"""Seconds between two looks."""

_FIRST_BEAT = 1.5
"""Steps shorter than this (in seconds) cost no beat."""

_OFTEN, _SELDOM, _MANY = 4, 2.5, 50
"""Beats within a heartbeat timeout; fewer once so many steps are open, since each costs the server a call."""

_BLOCKED = 1.0
"""Seconds after which a step that holds the loop is reported."""


@dataclass(kw_only=True)
class _Running:
    step: str
    record: Callable[..., None]
    next_beat: float
    interval: float
    begun: bool = True
    """Whether its function has been called; it waits for the loop otherwise."""


class HeartbeatInterceptor(Interceptor):
    """Beats for the steps of one worker and reports steps that hold its loop.

    Attributes:
        blocked_count: How often a step held the loop for over a second.

    Args:
        host: The worker's steps; learns the worker's loop here.
        codes: The code of each step, to name the one that blocks.
    """

    def __init__(self, host: StepHost, codes: Mapping[CodeType, str]) -> None:
        self.blocked_count = 0
        self.host = host
        self._codes = codes
        self._running: dict[bytes, _Running] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._loop_thread = 0
        self._answered = 0.0
        self._freed = -math.inf
        self._handovers: dict[int, Handover] = {}

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Beating(next, self)

    def start(self) -> None:
        """Start the thread; called on the worker's loop."""
        if self._thread is None:
            self.host.loop = asyncio.get_running_loop()
            self.host.record_progress = self.record
            self._loop_thread = threading.get_ident()
            self._answered = time.monotonic()
            self._thread = threading.Thread(target=self._beat, name="holdfast-heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    @property
    def running(self) -> list[str]:
        """The steps that run now, each once, as a sentence shows them."""
        with self._lock:
            return sorted({f"step {running.step!r}" for running in self._running.values()})

    def add(
        self, token: bytes, step: str, timeout: float, record: Callable[..., None], *, begun: bool = True
    ) -> None:
        """A step has started, or waits for the loop."""
        with self._lock:
            often = _OFTEN if len(self._running) < _MANY else _SELDOM
            interval = max(timeout / often, 0.2)
            self._running[token] = _Running(
                step=step,
                record=record,
                next_beat=time.monotonic() + min(_FIRST_BEAT, interval),
                interval=interval,
                begun=begun,
            )

    def stand_by_worker(self, worker: Worker) -> None:
        """Be ready to receive a worker's tasks while its loop is held; called on the loop, before the worker runs."""
        direct = _direct_of(getattr(worker, "_activity_worker", None))
        if direct is not None:
            self.stand_by(direct)

    def stand_by(self, direct: _Direct) -> None:
        """As `stand_by_worker`."""
        bridge = direct.bridge()
        if id(bridge) in self._handovers:
            return

        def keep(task: ActivityTask) -> None:
            timeout = task.start.heartbeat_timeout.ToTimedelta().total_seconds()
            if timeout and not task.start.is_local:
                beat = functools.partial(direct.record, task.task_token, task.start.heartbeat_details)
                self.add(task.task_token, task.start.activity_type, timeout, beat, begun=False)

        handover = self._handovers[id(bridge)] = Handover(
            bridge.poll_activity_task, keep, asyncio.get_running_loop(), direct.running
        )
        bridge.poll_activity_task = handover.next

    def may_be_stale(self, info: activity.Info) -> bool:
        """Whether a step that is about to begin may have waited here, without a beat, for so long that the server gave
        it to another worker: for the loop, or with the whole process, which was stopped or on a machine that slept."""
        patience = info.heartbeat_timeout or info.start_to_close_timeout
        # Where the clock differs from the server's, this costs a call for each step, and nothing else.
        if patience is not None and datetime.now(UTC) - info.started_time > patience / 2:
            return True
        with self._lock:
            return time.monotonic() - self._freed < _TICK * 2 and info.task_token not in self._running

    def record(self, token: bytes, details: Sequence[Any]) -> bool:
        """Record what a step tells of its progress, from its own thread.

        Returns:
            Whether beats are sent for the step.
        """
        with self._lock:
            running = self._running.get(token)
        if running is not None:
            running.record(*details)
        return running is not None

    def remove(self, token: bytes) -> None:
        """A step has ended."""
        with self._lock:
            self._running.pop(token, None)

    def _beat(self) -> None:
        asked, reported = 0.0, False
        while not self._stop.wait(_TICK):
            now = time.monotonic()
            with self._lock:
                due = [running for running in self._running.values() if running.next_beat <= now]
            for running in due:
                running.next_beat = now + running.interval
                try:
                    running.record()
                except Exception:
                    # Of the step's details or of the codec: the beats of all other steps leave from this thread too.
                    logger.warning("step %r cannot beat", running.step, exc_info=True)
            loop = self.host.loop
            if loop is None or loop.is_closed():
                return
            if asked <= self._answered:
                if reported:
                    self._free()
                asked, reported = now, False
                loop.call_soon_threadsafe(self._answer, now)
            elif now - asked >= _BLOCKED:
                for handover in list(self._handovers.values()):
                    handover.loop_is_held()
                if not reported:
                    reported = True
                    self._report(now - asked)

    def _answer(self, asked: float) -> None:
        self._answered = time.monotonic()
        if self._answered - asked >= _BLOCKED:
            self._freed = self._answered

    def _free(self) -> None:
        for handover in list(self._handovers.values()):
            handover.loop_is_free()
        # What the loop has not begun by now never will: it was cancelled, or it is no step of this worker.
        with self._lock:
            self._running = {token: running for token, running in self._running.items() if running.begun}

    def _report(self, seconds: float) -> None:
        step = self._blocking_step()
        if step is None:
            return
        self.blocked_count += 1
        logger.warning(
            "step %r has held the worker's loop for %.1f s: everything else on this worker waits; use `await` for "
            "I/O, a plain `def` step (it runs on a thread), or @step(process=True) for computing",
            step,
            seconds,
        )

    def _blocking_step(self) -> str | None:
        frame = sys._current_frames().get(self._loop_thread)
        while frame is not None:
            if frame.f_code in self._codes:
                return self._codes[frame.f_code]
            frame = frame.f_back
        return None


class _Beating(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, beats: HeartbeatInterceptor) -> None:
        super().__init__(next)
        self._beats = beats
        self._outbound: _Latest | None = None

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._outbound = _Latest(outbound)
        super().init(self._outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        self._beats.start()
        info, outbound = activity.info(), self._outbound
        if info.is_local:
            return _noted(await super().execute_activity(input), input.args)
        if outbound is not None and self._beats.may_be_stale(info):
            await outbound.check_in(info)
        if info.heartbeat_timeout is None or outbound is None:
            return await super().execute_activity(input)
        token = info.task_token
        outbound.start_from(info.heartbeat_details)
        if outbound.direct is not None:
            self._beats.stand_by(outbound.direct)
        record = outbound.recorder(token, asyncio.get_running_loop())
        self._beats.add(token, info.activity_type, info.heartbeat_timeout.total_seconds(), record)
        try:
            return await super().execute_activity(input)
        finally:
            self._beats.remove(token)


def _noted(result: Any, args: Sequence[Any]) -> Any:
    """The result of a local step with a hash of its arguments, which no event tells."""
    if isinstance(result, RawValue) and all(isinstance(arg, RawValue) for arg in args):
        noted = Payload()
        noted.CopyFrom(result.payload)
        noted.metadata[ARGUMENTS] = digest(arg.payload for arg in args).encode()
        return RawValue(noted)
    return result


class _Latest(ActivityOutboundInterceptor):
    """Keeps the last details, so that an automatic beat does not overwrite what the step recorded."""

    def __init__(self, next: ActivityOutboundInterceptor) -> None:
        super().__init__(next)
        self._details: tuple[Any, ...] = ()
        self.direct = _direct(next)

    async def check_in(self, info: activity.Info) -> None:
        """Go on only when the server still waits for this attempt."""
        client: Client | None = self.direct.client if self.direct else None
        if client is None:
            return
        try:
            await client.get_async_activity_handle(task_token=info.task_token).heartbeat(
                *info.heartbeat_details
            )
        except (RPCError, AsyncActivityCancelledError) as exc:
            raise ApplicationError(
                f"step {info.activity_type!r} waited here for so long that the server has given this attempt up"
            ) from exc

    def start_from(self, details: Sequence[Any]) -> None:
        """What the last attempt recorded, which a beat without details would erase."""
        self._details = tuple(details)

    def heartbeat(self, *details: Any) -> None:
        self._details = details
        super().heartbeat(*details)

    def recorder(self, token: bytes, loop: asyncio.AbstractEventLoop) -> Callable[..., None]:
        """What sends one beat from any thread but the loop's: with the details given, else with the last ones."""
        direct = self.direct
        step_heartbeat = super().heartbeat
        encoded: tuple[Sequence[Any], Sequence[Payload]] = ((), ())
        one_at_a_time = threading.Lock()

        def record(*details: Any) -> None:
            nonlocal encoded
            if direct is None:
                loop.call_soon_threadsafe(_quietly(step_heartbeat), *(details or self._details))
                return
            with one_at_a_time:
                latest = details or self._details
                if encoded[0] is not latest:
                    # Encoding on the worker's loop would wait for a step that holds it.
                    encoded = (latest, asyncio.run(direct.encode(latest)) if latest else ())
                self._details = latest
                direct.record(token, encoded[1])

        return record


def _quietly(send: Callable[..., None]) -> Callable[..., None]:
    def send_it(*details: Any) -> None:
        try:
            send(*details)
        except RuntimeError:
            logger.debug("a beat came after its step had ended")

    return send_it


@dataclass(frozen=True, kw_only=True)
class _Direct:
    """Temporal's own way to record a beat, which works from any thread."""

    bridge: Any
    converter: DataConverter
    client: Client | None
    running: Mapping[bytes, Any] | None
    """What runs now, by task token; None if it is not known."""

    async def encode(self, details: Sequence[Any]) -> Sequence[Payload]:
        return await self.converter.encode(details)

    def record(self, token: bytes, details: Sequence[Payload]) -> None:
        self.bridge().record_activity_heartbeat(ActivityHeartbeat(task_token=token, details=details))


def _direct(outbound: ActivityOutboundInterceptor) -> _Direct | None:
    """It is not public: without it beats leave from the worker's loop, which is all that then is lost."""
    while hasattr(outbound, "next"):
        outbound = outbound.next
    return _direct_of(getattr(outbound, "_worker", None))


def _direct_of(worker: object) -> _Direct | None:
    bridge, converter = getattr(worker, "_bridge_worker", None), getattr(worker, "_data_converter", None)
    if bridge is None or converter is None:
        return None
    return _Direct(
        bridge=bridge,
        converter=converter,
        client=getattr(worker, "_client", None),
        running=getattr(worker, "_running_activities", None),
    )
