"""The raw peer: the same work written directly on temporalio, with the options that Holdfast's steps have."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

OPTIONS: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": timedelta(seconds=6),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=60),
        maximum_attempts=3,
    ),
}
LOCAL: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": OPTIONS["retry_policy"],
}


def beating(fn: F) -> F:
    """Heartbeats from a task on the worker's loop, as Temporal's samples do it."""

    @functools.wraps(fn)
    async def wrapper(*args: Any) -> Any:
        timeout = activity.info().heartbeat_timeout
        beat = asyncio.create_task(_beat(timeout.total_seconds() / 2)) if timeout else None
        try:
            return await fn(*args)
        finally:
            if beat:
                beat.cancel()

    return wrapper  # type: ignore[return-value]


async def _beat(interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        activity.heartbeat()


@activity.defn
@beating
async def raw_increment(value: int) -> int:
    """One more."""
    return value + 1


@workflow.defn
class RawChain:
    """`count` steps, one after the other."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Run it."""
        value = 0
        for _ in range(count):
            value = await workflow.execute_activity(raw_increment, value, **OPTIONS)
        return value


@workflow.defn
class RawFan:
    """`count` steps at once."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Run it."""
        results = await asyncio.gather(
            *(workflow.execute_activity(raw_increment, value, **OPTIONS) for value in range(count))
        )
        return sum(results)


@workflow.defn
class RawLocalChain:
    """`count` local steps, one after the other."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Run it."""
        value = 0
        for _ in range(count):
            value = await workflow.execute_local_activity(raw_increment, value, **LOCAL)
        return value


@workflow.defn
class RawLocalFan:
    """`count` local steps at once."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Run it."""
        results = await asyncio.gather(
            *(workflow.execute_local_activity(raw_increment, value, **LOCAL) for value in range(count))
        )
        return sum(results)
