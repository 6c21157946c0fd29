"""A workflow with queries and updates, and what tests of messages share."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast import (
    Run,
    set_state,
    step,
    wait_for,
    workflow,
)

from .support import eventually


@step
async def mail_pause() -> None:
    await asyncio.sleep(0.3)


@workflow
async def mail_counter(start: int) -> int:
    state = {"count": start}
    set_state(state)
    await wait_for("stop", None)
    return state["count"]


@mail_counter.query
def doubled(state: dict[str, int], plus: int = 0) -> int:
    return state["count"] * 2 + plus


@mail_counter.query
def broken(state: dict[str, int]) -> int:
    raise ValueError("no answer")


def at_most_ten(state: dict[str, int], by: int) -> None:
    if by > 10:
        raise ValueError("ten at most")


@mail_counter.update(validator=at_most_ten)
def add(state: dict[str, int], by: int) -> int:
    state["count"] += by
    return state["count"]


@mail_counter.update
async def add_slowly(state: dict[str, int], by: int = 1) -> int:
    await mail_pause()
    state["count"] += by
    return state["count"]


@mail_counter.update
def explode(state: dict[str, int]) -> int:
    raise KeyError("boom")


async def opened(run: Run[Any]) -> None:
    """Wait until the run waits for something."""

    async def waits() -> bool:
        return bool((await run.describe()).waits)

    await eventually(waits)
