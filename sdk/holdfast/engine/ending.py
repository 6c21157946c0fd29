"""Ending tasks of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

from temporalio import workflow

T = TypeVar("T")


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended, each in its own way.

    Not for a `finally`: where a stopped worker discards the run, nothing can be waited for any more.
    """
    open_tasks = [task for task in tasks if not task.done()]
    for task in open_tasks:
        task.cancel()
    if open_tasks:
        await workflow.wait(open_tasks)


async def finished(call: asyncio.Task[T]) -> T:
    """The end of a step. A cancel is passed on, unless the step ends in the same moment: Temporal would drop its result
    then, and what undoes it would not get to know it."""
    while True:
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            for _ in range(2):  # what the server said together with the cancel arrives first
                if call.done():
                    break
                await asyncio.sleep(0)
            if call.cancelled():
                raise
            if not call.done():
                call.cancel()


def cancels() -> int:
    """How often the calling task was asked to end and has not done so."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0
