"""Ending tasks of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from temporalio import workflow


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended, each in its own way.

    Not for a `finally`: where a stopped worker discards the run, nothing can be waited for any more.
    """
    open_tasks = [task for task in tasks if not task.done()]
    for task in open_tasks:
        task.cancel()
    if open_tasks:
        await workflow.wait(open_tasks)
