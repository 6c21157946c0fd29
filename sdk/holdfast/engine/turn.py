"""When an attempt may begin: its circuit breaker lets it, and it has a place under its limit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from holdfast.authoring.info import StepInfo
from holdfast.breaking import Breaker
from holdfast.engine.breakers import failure_counts
from holdfast.engine.keyed_limits import KeyedLimits, filled_in
from holdfast.options import Limit, RetryPolicy, StepOptions


def keyed(
    options: StepOptions, names: Sequence[str], values: Sequence[object]
) -> tuple[Limit | None, Breaker | None]:
    """The limit and the breaker of a step, their keys filled in from its arguments.

    Raises:
        InvalidInput: A key names something else, or nothing is left of it.
    """
    limit, breaker = options.limit, options.breaker
    if limit is None and breaker is None:
        return None, None
    arguments = dict(zip(names, values, strict=True))
    return limit and filled_in(limit, arguments), breaker and filled_in(breaker, arguments)


@asynccontextmanager
async def turn(
    limits: KeyedLimits | None,
    limit: Limit | None,
    breaker: Breaker | None,
    info: StepInfo,
    retry: RetryPolicy,
) -> AsyncGenerator[None]:
    """Wait until an attempt may begin, and give back what it holds at its end.

    Raises:
        NotYet: It is to leave its worker for some seconds.
    """
    holder = f"{info.idempotency_key}/{info.attempt}"
    async with AsyncExitStack() as stack:
        if breaker is not None and limits is not None:
            guard = limits.breakers.guard(breaker, holder, info.attempt, failure_counts(retry))
            await stack.enter_async_context(guard)
        if limit is not None and limits is not None:
            # An attempt that leaves is made anew as the first one: later ones, which count, wait where they are.
            place = limits.place(limit, holder, may_leave=info.attempt == 1)
            await stack.enter_async_context(place)
        yield
