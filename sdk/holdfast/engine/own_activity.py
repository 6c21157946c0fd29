"""Activities of Holdfast itself, such as the one that evaluates expressions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import CancelledError

from holdfast.engine.failures import step_failure
from holdfast.options import RetryPolicy


def own_activity(name: str, work: Callable[[Payload], Awaitable[Payload]]) -> Callable[..., Any]:
    """An activity that takes and gives one raw payload; what it raises fails the step as in a user's."""

    @activity.defn(name=name)
    async def run(asked: RawValue) -> RawValue:
        try:
            return RawValue(await work(asked.payload))
        except (asyncio.CancelledError, CancelledError):
            raise
        except Exception as exc:  # the boundary to expressions and data of users
            raise step_failure(exc, RetryPolicy(), activity.info().attempt) from exc

    return run
