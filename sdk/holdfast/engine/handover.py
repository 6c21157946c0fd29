"""How activity tasks come from the native worker to Temporal's poller.

That poller works on the worker's loop and asks for one task at a time, of which two things follow that this mends:

- While a step holds the loop, tasks arrive in the native part, where nobody beats for them: the server gives them up
  after their heartbeat timeout, and three times of that fail a step that never ran. Here threads receive them.
- The native part gives local steps first. As long as one is waiting at each poll, plain steps, which the server
  believes to run, wait for ever, to the same end. Here those threads keep polls open while local steps come: the ones
  that find no local step take plain ones.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Container
from typing import Any

logger = logging.getLogger("holdfast.worker")

_POLLS = 3
"""Polls that threads keep open while local steps come, beside the one of the worker's loop: one each."""

_FLOW_SECONDS = 1.0
"""How long after the last local step more of them are expected."""

_END_SECONDS = 5.0
"""How long the end of the polls is waited for once one of them has failed."""

MAX_LOCAL = 32
"""Local steps that a worker has at a time. Plain ones come through where all these places are taken; what waits for its
turn in Python has begun to the native part, and its time runs."""

Keep = Callable[[Any], None]
"""Takes an activity task, to beat for it until its step begins. Called from any thread."""


class Handover:
    """Stands between Temporal's poller and the native worker.

    Args:
        poll: Waits for the next activity task. It may be awaited on several loops at a time.
        keep: See `Keep`.
        loop: The worker's.
        running: The tokens of tasks that run now. A cancel of any other one, as for a beat that came after the end of
            its step, is dropped: Temporal's poller would warn of it.
    """

    def __init__(
        self,
        poll: Callable[[], Awaitable[Any]],
        keep: Keep,
        loop: asyncio.AbstractEventLoop,
        running: Container[bytes] | None = None,
    ) -> None:
        self._poll = poll
        self._keep = keep
        self._loop = loop
        self._running = running
        self._polling: asyncio.Future[Any] | None = None
        self._asked: asyncio.Future[Any] | None = None
        self._arrived: deque[Any] = deque()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._held = threading.Event()
        self._flows_until = -math.inf
        self._on_the_way: dict[int, Any] = {}
        """Tasks that a thread has received and the loop has not taken up."""

    async def next(self) -> Any:
        """The next task; called by Temporal's poller on the worker's loop, in place of `poll`."""
        while True:
            task = self._taken(self._arrived.popleft() if self._arrived else await self._asked_for())
            late = (
                self._running is not None and task.HasField("cancel") and task.task_token not in self._running
            )
            if not late:
                return task

    def _asked_for(self) -> asyncio.Future[Any]:
        self._asked = self._loop.create_future()
        if self._polling is None:
            self._polling = asyncio.ensure_future(self._poll())
            self._polling.add_done_callback(self._polled)
        return self._asked

    def _taken(self, task: Any) -> Any:
        self._on_the_way.pop(id(task), None)
        return task

    def _polled(self, done: asyncio.Future[Any]) -> None:
        self._polling = None
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            self._end(error, time.monotonic() + _END_SECONDS)
            return
        task = done.result()
        self._deliver(task)
        if task.start.is_local:
            self._expect_local()

    def _expect_local(self) -> None:
        self._flows_until = time.monotonic() + _FLOW_SECONDS
        self._receive_beside()

    def _end(self, error: BaseException, deadline: float) -> None:
        if any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            # Temporal ends the native worker after this, which an open poll would prevent.
            self._loop.call_later(0.01, self._end, error, deadline)
        elif self._asked is not None and not self._asked.done():
            self._asked.set_exception(error)

    def _deliver(self, task: Any) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(task)
        else:
            self._arrived.append(task)

    def loop_is_held(self) -> None:
        """Receive tasks on threads until `loop_is_free`; called again and again from the thread that noticed."""
        if self._asked is None:
            return  # Temporal still waits for a poll of its own, from before this stood between
        if not self._held.is_set():
            self._held.set()
            for task in list(self._on_the_way.values()):
                self._keep(task)
        self._receive_beside()

    def loop_is_free(self) -> None:
        """Stop receiving; polls that are open still end with a task each."""
        self._held.clear()

    def _receive_beside(self) -> None:
        with self._starting:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            while len(self._threads) < _POLLS:
                thread = threading.Thread(target=self._receive, name="holdfast-handover", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _receive(self) -> None:
        asyncio.run(self._receive_all())

    async def _receive_all(self) -> None:
        while self._held.is_set() or time.monotonic() < self._flows_until:
            try:
                task = await self._poll()
            except Exception as exc:  # noqa: BLE001 - of several kinds; Temporal's own poll gets it too and reports it
                logger.debug("no more steps are received beside the loop: %s", exc)
                return
            self._on_the_way[id(task)] = task
            if self._held.is_set():
                self._keep(task)
            if task.start.is_local:
                self._expect_local()
            self._loop.call_soon_threadsafe(self._deliver, task)
