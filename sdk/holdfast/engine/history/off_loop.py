"""Work on long histories, away from the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_THREAD_EVENTS = 2000


async def off_loop(event_count: int, work: Callable[[], T]) -> T:
    """Do something that takes as long as a history has events."""
    # A second of work for a long history would hold up a worker on the same loop.
    return await asyncio.to_thread(work) if event_count > _THREAD_EVENTS else work()
