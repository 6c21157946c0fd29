"""What the type checkers infer for waits and tests. Checked by mypy and pyright, both strict; never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=error

from __future__ import annotations

import random as stdlib_random
import uuid
from datetime import datetime, timedelta
from typing import assert_type

from pydantic import BaseModel

from holdfast import (
    Client,
    Decision,
    approval,
    continue_as_new,
    now,
    patched,
    random,
    step,
    uuid4,
    wait_for,
    workflow,
)
from holdfast.testing import check_idempotent, mock_step


class Form(BaseModel):
    floor: int


@workflow
async def ask(count: int) -> int:
    assert_type(await approval("Ship it?", timeout=timedelta(days=2)), Decision)
    assert_type(await approval("Where?", form=Form, name="where"), Form)
    assert_type(await wait_for("address", str), str)
    assert_type(await wait_for("form", Form, timeout=timedelta(hours=1)), Form)
    assert_type(now(), datetime)
    assert_type(uuid4(), uuid.UUID)
    assert_type(random(), stdlib_random.Random)
    await wait_for(7, str)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await approval("Ship it?", timeout=7)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    if patched("faster"):
        continue_as_new(count - 1)
    return count


@ask.query
def left(state: int) -> int:
    return state


@ask.update
def add(state: int, more: int) -> int:
    return state + more


assert_type(left(1), int)
assert_type(add(1, 2), int)


@step
async def double(x: int) -> int:
    return 2 * x


def fake(x: int) -> int:
    return x


async def async_fake(x: int) -> int:
    return x


async def tests(client: Client) -> None:
    with mock_step(double, 7) as value, mock_step(double, fake), mock_step(double, async_fake):
        assert_type(value.calls[0].attempt, int)
    with mock_step(double, ValueError("x")), mock_step(double, ValueError):
        pass
    with mock_step(double, "7"):  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        pass
    assert_type(await check_idempotent(double, 7, times=3), int)
    await check_idempotent(double, "7")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert_type(await client.run(ask, 7), int)
