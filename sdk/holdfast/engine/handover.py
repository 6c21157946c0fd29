"""How activity tasks come from the native worker to Temporal's poller.

That poller works on the worker's loop and asks for one task at a time, of which two things follow that this mends:

- While a step holds the loop, tasks arrive in the native part, where nobody beats for them: the server gives them up
  after their heartbeat timeout, and three times of that fail a step that never ran. Here a thread receives them.
- The native part gives local steps first. As long as one is waiting at each poll, plain steps, which the server
  believes to run, wait for ever, to the same end. Here several polls are open while local steps come: those that find
  no local one take plain ones.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger("holdfast.worker")

_POLLS = 4
"""Polls that are open while local steps come."""

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
    """

    def __init__(
        self, poll: Callable[[], Awaitable[Any]], keep: Keep, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._poll = poll
        self._keep = keep
        self._loop = loop
        self._polling: set[asyncio.Future[Any]] = set()
        self._asked: asyncio.Future[Any] | None = None
        self._arrived: deque[Any] = deque()
        self._thread: threading.Thread | None = None
        self._held = threading.Event()

    async def next(self) -> Any:
        """The next task; called by Temporal's poller on the worker's loop, in place of `poll`."""
        if self._arrived:
            return self._arrived.popleft()
        self._asked = self._loop.create_future()
        self._open_polls(1)
        return await self._asked

    def _open_polls(self, count: int) -> None:
        while len(self._polling) < count:
            polling = asyncio.ensure_future(self._poll())
            self._polling.add(polling)
            polling.add_done_callback(self._polled)

    def _polled(self, done: asyncio.Future[Any]) -> None:
        self._polling.discard(done)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            task = done.result()
            self._deliver(task)
            if task.start.is_local:
                self._open_polls(_POLLS)
        elif self._asked is not None and not self._asked.done() and not self._polling:
            # The last of them: Temporal ends the native worker after this, which an open poll would prevent.
            self._asked.set_exception(error)

    def _deliver(self, task: Any) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(task)
        else:
            self._arrived.append(task)

    def loop_is_held(self) -> None:
        """Receive tasks from a thread until `loop_is_free`; called again and again from the thread that noticed."""
        if self._asked is None:
            return  # Temporal still waits for a poll of its own, from before this stood between
        self._held.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._receive, name="holdfast-handover", daemon=True)
            self._thread.start()

    def loop_is_free(self) -> None:
        """Stop receiving; a poll that is open still ends with one task."""
        self._held.clear()

    def _receive(self) -> None:
        asyncio.run(self._receive_all())

    async def _receive_all(self) -> None:
        while self._held.is_set():
            try:
                task = await self._poll()
            except Exception as exc:  # noqa: BLE001 - of several kinds; Temporal's own poll gets it too and reports it
                logger.debug("no more steps are received for a held loop: %s", exc)
                return
            self._keep(task)
            self._loop.call_soon_threadsafe(self._deliver, task)
