"""Does a step that runs again do its effect again?"""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, TypeVarTuple

from holdfast.authoring.info import StepInfo, enter
from holdfast.authoring.step import Step
from holdfast.errors import InvalidStep

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


async def check_idempotent(
    step: Callable[[*Ts], Awaitable[R]],
    /,
    *args: *Ts,
    times: int = 3,
    probe: Callable[[], object] | None = None,
) -> R:
    """Run a step several times as attempts of one call, and compare what it returned and what it left behind.

    A worker may die after a step's effect and before its result is recorded; the step then runs again. This checks
    that nobody notices. `step_info()` works in it: the idempotency key stays the same, the attempt counts up.

    Args:
        step: The step; its dependencies come from `override`.
        *args: Its arguments.
        times: How often, at least twice.
        probe: Reads the state that the step changes, such as the rows of a table; async or sync. What it returns is
            compared with `==`.

    Returns:
        The step's result.

    Raises:
        AssertionError: A result or the state differs from that of the first attempt.

    Example:
        `await check_idempotent(charge, order, probe=lambda: bank.balance("ada"))`
    """
    name = _name_of(step)
    if name is None:
        raise InvalidStep(f"{step!r} is no step: decorate the function with @step")
    if times < 2:
        raise ValueError(f"times={times}: a step that runs once shows nothing")
    key = f"check-{uuid.uuid4().hex}"
    first = await asyncio.create_task(_attempt(step, args, name, key, 1))
    state = await _read(probe)
    for number in range(2, times + 1):
        result = await asyncio.create_task(_attempt(step, args, name, key, number))
        if result != first:
            raise AssertionError(
                f"step {name!r} is not idempotent: attempt 1 returned {first!r}, attempt {number} {result!r}"
            )
        now = await _read(probe)
        if now != state:
            raise AssertionError(
                f"step {name!r} is not idempotent: attempt 1 left {state!r}, attempt {number} left {now!r}; "
                "give the service step_info().idempotency_key, or look first whether it is done"
            )
    return first


def _name_of(step: object) -> str | None:
    return step.name if isinstance(step, Step) else None


async def _attempt(
    step: Callable[[*Ts], Awaitable[R]], args: tuple[*Ts], name: str, key: str, number: int
) -> R:
    enter(
        StepInfo(
            run_id="check", workflow="check", step=name, attempt=number, idempotency_key=key, token="check"
        )
    )
    return await step(*args)


async def _read(probe: Callable[[], Any] | None) -> Any:
    value = probe() if probe else None
    return await value if inspect.isawaitable(value) else value
