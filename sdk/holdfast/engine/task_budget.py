"""How much one workflow task may carry: past 4 MiB Temporal terminates the run, without compensation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

TASK_BYTES = 2 * 1024 * 1024
"""Encoded arguments that enter one workflow task; further steps wait for the next one."""

MAX_OPEN_STEPS = 500
"""Plain steps of one run that are open at a time."""

MAX_OPEN_LOCAL_STEPS = 50
"""Local steps of one run that are open at a time: with results of up to 32 KiB each they stay under `TASK_BYTES`."""

LOCAL_RESULT_BYTES = 256 * 1024
"""The largest result of a local step where no storage takes it."""

MAX_OPEN_INLINE_STEPS = 8
"""Local steps that are open at a time where no storage takes their results: of `LOCAL_RESULT_BYTES` each they stay
under `TASK_BYTES`."""

LOCAL_BYTES = 1024 * 1024
"""Arguments and results of local steps after which the workflow task is closed."""

LOCAL_TIME = timedelta(seconds=1)
"""Time of local steps after which the workflow task is closed."""


class TaskBudget:
    """Admits plain steps while the bytes of this workflow task last. Deterministic: it looks only at sizes before
    encoding and at the history length.

    Args:
        close_task: Runs a no-op step, whose end begins the next workflow task: the steps that fill this one may take
            hours.
    """

    def __init__(self, close_task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._close_task = close_task
        self._history_length: int = -1
        self._bytes = 0
        self._open = asyncio.Semaphore(MAX_OPEN_STEPS)
        self._closing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def admit(self, size_bytes: int, *, at_once: bool = False) -> AsyncGenerator[None]:
        """Wait until a step with so many argument bytes may be scheduled, and hold its place.

        Args:
            size_bytes: Of its arguments.
            at_once: Whether it needs no place among the open steps: compensation waits for none of them.
        """
        async with nullcontext() if at_once else self._open:
            while not self._fits(size_bytes):
                if self._closing is None or self._closing.done():
                    self._closing = asyncio.create_task(self._close_task())
                await workflow.wait_condition(self._next_task)
            self._bytes += size_bytes
            yield

    def _next_task(self) -> bool:
        return _history_length() != self._history_length

    def _fits(self, size_bytes: int) -> bool:
        length: int = _history_length()
        if length != self._history_length:
            self._history_length, self._bytes = length, 0
        return self._bytes == 0 or self._bytes + size_bytes <= TASK_BYTES


class LocalBudget:
    """Admits local steps, and closes the workflow task with one plain no-op step when it grows long or large.

    Args:
        close_task: Runs the no-op step.
        stored: Whether a storage takes large results.
    """

    def __init__(self, close_task: Callable[[], Awaitable[None]], *, stored: bool) -> None:
        self._close_task = close_task
        self._open = asyncio.Semaphore(MAX_OPEN_LOCAL_STEPS if stored else MAX_OPEN_INLINE_STEPS)
        self._bytes = 0
        self._since: datetime | None = None
        self._closing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def admit(self, size_bytes: int) -> AsyncGenerator[None]:
        """Wait until a local step with so many argument bytes may run, and hold its place."""
        async with self._open:
            now = workflow.now()
            if self._since is None:
                self._since = now
            if self._bytes + size_bytes > LOCAL_BYTES or now - self._since >= LOCAL_TIME or self._closing:
                await self._close()
            self._bytes += size_bytes
            yield

    def add(self, size_bytes: int) -> None:
        """Count the result of a local step."""
        self._bytes += size_bytes

    async def _close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._run())
        await asyncio.shield(self._closing)

    async def _run(self) -> None:
        try:
            await self._close_task()
        finally:
            self._closing, self._bytes, self._since = None, 0, workflow.now()


def _history_length() -> int:
    length: int = workflow.info().get_current_history_length()
    return length
