"""Workflows whose shape is their input, and plans made by chance."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from pydantic import BaseModel

from holdfast import Dag, Permanent, RetryPolicy, continue_as_new, step, step_info, wait_for, workflow

QUICK = RetryPolicy(
    max_attempts=3, first_delay=timedelta(milliseconds=10), max_delay=timedelta(milliseconds=20)
)
ERRORS = {"value": ValueError, "key": KeyError, "refused": ConnectionError, "permanent": Permanent}


class Op(BaseModel):
    """One thing that a run does."""

    kind: str
    fails: int = 0
    """How many attempts fail."""

    error: str = "value"
    tokens: int = 0
    plan: list[Op] = []


async def _do(op: Op) -> int:
    info = step_info()
    info.usage.add(cost_usd=op.tokens / 1000, tokens=op.tokens)
    if info.attempt <= op.fails:
        raise ERRORS[op.error](f"as planned, {op.fails} times")
    return op.tokens


@step(name="exact.work", retry=QUICK)
async def work(op: Op) -> int:
    return await _do(op)


@step(name="exact.call", retry=QUICK)
async def call(op: Op) -> int:
    return await _do(op)


@step(name="exact.local", local=True, retry=QUICK)
async def local(op: Op) -> int:
    return op.tokens


@step(name="exact.slow", heartbeat=timedelta(seconds=2))
async def slow(op: Op) -> None:
    await asyncio.sleep(60)


@step(name="exact.reserve", retry=QUICK)
async def reserve(op: Op) -> int:
    return await _do(op)


@reserve.compensate
async def release(op: Op, reserved: int | None) -> None:
    await asyncio.sleep(0)


async def _follow(plan: list[Op]) -> list[Op]:
    """Do what is planned; what is left for the next execution."""
    for place, op in enumerate(plan):
        match op.kind:
            case "work":
                await work(op)
            case "call":
                await call(op)
            case "local":
                await local(op)
            case "slow":
                await slow(op)
            case "reserve":
                await reserve(op)
            case "gather":
                await asyncio.gather(work(op), call(op), work(op))
            case "sleep":
                await asyncio.sleep(0.01)
            case "child":
                await other_shape(op.plan)
            case "wait":
                await wait_for("go", bool)
            case _:
                return plan[place + 1 :]
    return []


@workflow(name="exact.shape")
async def shape(plan: list[Op]) -> None:
    if left := await _follow(plan):
        continue_as_new(left)


@workflow(name="exact.other-shape")
async def other_shape(plan: list[Op]) -> None:
    if left := await _follow(plan):
        continue_as_new(left)


def dag(name: str) -> Dag:
    """Two steps beside each other, one after them under a condition, and one per item."""
    made = Dag(name)
    made.add_step(work, id="first", arguments={"op": "{{ input.first }}"})
    made.add_step(call, id="second", arguments={"op": "{{ input.second }}"})
    made.add_step(
        work, id="third", arguments={"op": "{{ input.first }}"}, depends_on=["first"], when="first > 50"
    )
    made.add_map(call, over="input.items", id="each", arguments={"op": "{{ item }}"}, depends_on=["second"])
    return made


def an_op(chance: random.Random, kind: str) -> Op:
    """A step that succeeds, or does so later, or does not."""
    fails = chance.choices([0, 1, 2, 3], [80, 10, 5, 5])[0]
    return Op(kind=kind, fails=fails, error=chance.choice(list(ERRORS)), tokens=chance.choice([0, 0, 7, 100]))


def a_plan(chance: random.Random, *, depth: int = 0) -> list[Op]:
    """Up to four things."""
    kinds = ["work", "call", "gather", "sleep", "reserve", "again"] + ([] if depth else ["child", "child"])
    plan: list[Op] = [Op(kind="local", tokens=3)] if chance.random() < 0.15 else []
    for _ in range(chance.randrange(4)):
        kind = chance.choice(kinds)
        if kind == "child":
            plan.append(Op(kind=kind, plan=a_plan(chance, depth=1)))
        else:
            plan.append(an_op(chance, kind))
    return plan
