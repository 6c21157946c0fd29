"""A worker's side of keyed limits: asks the key's run for places, tells it who is still at work, gives places back.

Everything is sent from a thread with a loop of its own: a step that blocks the worker's loop must not lose its place,
which somebody else would get while it is still at work. One message at a time leaves for a key, with all that has come
up meanwhile, so that many waiting steps cost no more than one.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from holdfast.breaking import Breaker
from holdfast.engine.breaker_run import BreakerRun
from holdfast.engine.breakers import Breakers
from holdfast.engine.not_yet import NotYet
from holdfast.engine.semaphore import LEASE_SECONDS, Semaphore, Turn
from holdfast.errors import InvalidInput
from holdfast.options import Limit

logger = logging.getLogger("holdfast.worker")

_IN_PLACE_SECONDS: Final = 3.0
"""Who has to wait longer leaves its worker's slot to others meanwhile."""

_TELL_SECONDS: Final = LEASE_SECONDS / 4
_TRY_AGAIN_SECONDS: Final = 0.5
_ALONG: Final = 10
_PATIENCE: Final = timedelta(seconds=10)
_GIVING_BACK_SECONDS: Final = 2.0
_KEY_BYTES: Final = 200
_STICKY: Final = timedelta(seconds=5)
"""After which the runs of a killed process go to others."""

Keyed = TypeVar("Keyed", Limit, Breaker)

QUEUE: Final = "holdfast-limits"
"""Where the runs of keys are, for all workers."""


def filled_in(limit: Keyed, arguments: Mapping[str, Any]) -> Keyed:
    """A limit or a breaker with arguments in the place of their names.

    Raises:
        InvalidInput: The key names something else, or nothing is left of it.
    """
    what = type(limit).__name__.lower()
    try:
        key = limit.key.format_map(arguments)
    except (KeyError, AttributeError, IndexError, ValueError) as error:
        raise InvalidInput(f"the {what}'s key {limit.key!r} cannot be filled in: {error!r}") from error
    if not key:
        raise InvalidInput(f"the {what}'s key {limit.key!r} is empty once it is filled in")
    return dataclasses.replace(limit, key=key)


class KeyedLimits:
    """The places that the steps of one worker hold and wait for.

    Args:
        client: Of the worker.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.breakers = Breakers(client, self.serve)
        self._serving: asyncio.Task[None] | None = None
        self._keys: dict[str, _Key] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    @asynccontextmanager
    async def place(self, limit: Limit, holder: str, *, may_leave: bool) -> AsyncGenerator[None]:
        """Wait for a place and hold it.

        Args:
            limit: Its key filled in.
            holder: Names the attempt.
            may_leave: Whether a long wait may end in `NotYet`.

        Raises:
            NotYet: It is not its turn for some time.
            InvalidInput: Its key cannot be part of a run's id.
        """
        if len(limit.key.encode()) > _KEY_BYTES or not limit.key.isprintable():
            raise InvalidInput(
                f"the limit's key {limit.key!r:.300}: use at most {_KEY_BYTES} bytes without control characters"
            )
        loop = self._running_loop()
        place = _Place(limit, holder, may_leave=may_leave)
        loop.call_soon_threadsafe(self._join, place)
        try:
            delay = await asyncio.wrap_future(place.turn)
            if delay:
                raise NotYet(f"the limit {limit.key!r} is used up for about {delay:.0f} s", delay)
            yield
        finally:
            with contextlib.suppress(RuntimeError):  # its worker has stopped: the lease runs out
                loop.call_soon_threadsafe(self._leave, limit.key, place)

    async def close(self) -> None:
        """Give back what is left and end the thread."""
        loop = self._loop
        if loop is not None and loop.is_running():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * _GIVING_BACK_SECONDS):
                    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._emptied(), loop))
            loop.call_soon_threadsafe(loop.stop)

    async def _emptied(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GIVING_BACK_SECONDS):
                await asyncio.gather(*(key.task for key in list(self._keys.values()) if key.task))
        if self._serving is not None:
            self._serving.cancel()  # which shuts the worker down
            await asyncio.wait([self._serving])

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_serve, args=(self._loop,), name="holdfast-limits", daemon=True
                ).start()
            return self._loop

    async def _serve(self) -> None:
        """Run the runs of keys. Every process that asks for places does, whatever queues it has: whoever waits for a
        place is sure that somebody answers."""
        while True:
            try:
                worker = Worker(
                    self._client,
                    task_queue=QUEUE,
                    workflows=[Semaphore, BreakerRun],
                    workflow_runner=UnsandboxedWorkflowRunner(),
                    sticky_queue_schedule_to_start_timeout=_STICKY,
                    build_id=QUEUE,  # the default reads the code of every loaded module
                )
            except RuntimeError as error:  # another worker of this client serves them already, until it stops
                logger.debug("the runs of limits are not served from here: %s", error)
            else:
                try:
                    await worker.run()
                except (RPCError, TemporalError, RuntimeError) as error:
                    logger.warning("the runs of limits are not served, and are again soon: %s", error)
            await asyncio.sleep(_TRY_AGAIN_SECONDS)

    def serve(self) -> None:
        """Serve the runs of keys, from now on."""
        self._running_loop().call_soon_threadsafe(self._served)

    def _served(self) -> None:
        if self._serving is None:
            self._serving = asyncio.get_running_loop().create_task(self._serve())

    def _join(self, place: _Place) -> None:
        self._served()
        name = place.limit.key
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = _Key(self._client, lambda: self._keys.pop(name, None))
        key.join(place)

    def _leave(self, name: str, place: _Place) -> None:
        if name in self._keys:
            self._keys[name].leave(place)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class _Place:
    """One step's, from when it asks to when it is done."""

    def __init__(self, limit: Limit, holder: str, *, may_leave: bool) -> None:
        self.limit, self.holder, self.may_leave = limit, holder, may_leave
        self.turn: Future[float] = Future()
        """0 when it may begin, otherwise when it is to come back."""
        self.ask_at = 0.0
        self.began: float | None = None
        self.ended: float | None = None


class _Key:
    """One key, as this worker sees it. Lives on the thread's loop."""

    def __init__(self, client: Client, forget: Callable[[], object]) -> None:
        self._client, self._forget = client, forget
        self._places: dict[str, _Place] = {}
        self._news = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def join(self, place: _Place) -> None:
        self._places[place.holder] = place
        self._news.set()
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._talk(place.limit.key))

    def leave(self, place: _Place) -> None:
        place.ended = time.monotonic()
        self._news.set()

    async def _talk(self, key: str) -> None:
        told = time.monotonic()
        while self._places:
            now = time.monotonic()
            due = min(
                (place.ask_at for place in self._places.values() if place.began is None), default=now + 60
            )
            if not any(place.ended for place in self._places.values()):
                wait = min(due, told + _TELL_SECONDS) - now
                if wait > 0:
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._news.wait()
                    continue
            try:
                await self._tell(key)
            except (RPCError, TemporalError) as error:
                logger.warning("the limit %r cannot be asked, and is again: %s", key, error)
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            told = time.monotonic()
        self._forget()

    async def _tell(self, key: str) -> None:
        now = time.monotonic()
        places = list(self._places.values())
        ended = [place for place in places if place.ended is not None]
        waiting = [place for place in places if place.began is None and not place.ended]
        # A message that leaves anyway asks for the first ones too: a place that is given back goes on at once.
        asking = [place for at, place in enumerate(waiting) if at < _ALONG or place.ask_at <= now]
        # One message tells for all; each number that is asked by has one of its own.
        limits = list(dict.fromkeys(place.limit for place in (*asking, *places)))
        for at, limit in enumerate(limits):
            own = [place for place in asking if place.limit == limit]
            if at and not own:
                continue
            turn = Turn(
                concurrency=limit.concurrency,
                count=limit.count,
                period=limit.period.total_seconds(),
                asking=[place.holder for place in own],
            )
            if not at:
                turn.ended = {place.holder: now - (place.began or now) for place in ended}
                turn.holding = {
                    place.holder: now - place.began for place in places if place.began and not place.ended
                }
            answer = await self._send(key, turn)
            for place in ended:
                self._places.pop(place.holder, None)
            self._hear(own, answer)

    def _hear(self, asking: Sequence[_Place], answer: Any) -> None:
        granted, delays = set(answer["granted"]), answer["delays"]
        now = time.monotonic()
        for place in asking:
            if place.holder in granted:
                place.began = now
                if place.turn.set_running_or_notify_cancel():
                    place.turn.set_result(0.0)
            elif place.may_leave and delays[place.holder] > _IN_PLACE_SECONDS:
                del self._places[place.holder]  # it keeps its place in the line
                if place.turn.set_running_or_notify_cancel():
                    place.turn.set_result(delays[place.holder])
            else:
                place.ask_at = now + min(delays[place.holder], _IN_PLACE_SECONDS)

    async def _send(self, key: str, turn: Turn) -> Any:
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            "holdfast.semaphore",
            args=[None],
            id=f"holdfast-limit/{key}",
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
        return await self._client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]
            "turn", dataclasses.asdict(turn), start_workflow_operation=start, rpc_timeout=_PATIENCE
        )
