"""What the workers of the harness serve: workflows of several shapes, whose steps tell the outside of themselves."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import cache

from holdfast import Permanent, RetryPolicy, approval, map_steps, patched, step, wait_for, workflow
from holdfast.authoring.dag import Dag

from .build import BUILD, Build
from .sink import Outside

OFTEN = RetryPolicy(max_attempts=100, first_delay=timedelta(milliseconds=100), max_delay=timedelta(seconds=2))
"""Where workers are killed all the time, three attempts are soon used up, as they should be."""


@cache
def _outside() -> Outside:
    return Outside()


@step(name="crash.work", retry=OFTEN)
async def work(label: str, seconds: float) -> str:
    """Takes its time between its two effects."""
    await _outside().tell("start", label)
    await asyncio.sleep(seconds)
    await _outside().tell("end", label)
    return label


@step(name="crash.book", retry=OFTEN)
async def book(label: str, seconds: float) -> str:
    """Has a compensation."""
    await _outside().tell("start", label)
    await asyncio.sleep(seconds)
    await _outside().tell("end", label)
    return f"booking of {label}"


@book.compensate
async def unbook(label: str, seconds: float, booking: str | None) -> None:
    await _outside().tell("start", f"undo {label}")
    assert booking in (None, f"booking of {label}")
    await _outside().tell("end", f"undo {label}")


@step(name="crash.refuse", retry="none")
async def refuse() -> None:
    """Fails for good."""
    raise Permanent("refused, as planned")


if BUILD is not Build.OLD:

    @step(name="crash.check", retry=OFTEN)
    async def check(label: str) -> None:
        """Came with a later version of the code."""
        await _outside().tell("start", label)
        await _outside().tell("end", label)

    @workflow(name="crash.extra")
    async def extra(seconds: list[float]) -> list[str]:
        return [await work(str(number), pause) for number, pause in enumerate(seconds)]


@workflow(name="crash.chain")
async def chain(seconds: list[float]) -> list[str]:
    done: list[str] = []
    for number, pause in enumerate(seconds):
        if BUILD is Build.WRONG:
            await check(str(number))
        done.append(await work(str(number), pause))
        if BUILD is Build.NEW and patched(f"check-{number}"):
            await check(str(number))
    return done


@workflow(name="crash.fan")
async def fan(seconds: list[float]) -> list[str]:
    return list(await asyncio.gather(*(work(str(number), pause) for number, pause in enumerate(seconds))))


@workflow(name="crash.saga")
async def saga(seconds: list[float]) -> None:
    for number, pause in enumerate(seconds):
        await book(str(number), pause)
    await refuse()


@workflow(name="crash.parent")
async def parent(seconds: list[float]) -> list[str]:
    first = await work("before", seconds[0])
    return [first, *await chain(seconds[1:])]


@step(name="crash.piece", retry=OFTEN)
async def piece(item: tuple[str, float]) -> str:
    label, seconds = item
    await _outside().tell("start", label)
    await asyncio.sleep(seconds)
    await _outside().tell("end", label)
    return label


@workflow(name="crash.mapped")
async def mapped(seconds: list[float]) -> list[str]:
    return await map_steps(
        piece, [(str(number), pause) for number, pause in enumerate(seconds)], concurrency=3
    )


@workflow(name="crash.asks")
async def asks(seconds: list[float]) -> list[str]:
    first = await wait_for("go", str)
    done = await work("between", seconds[0])
    second = await wait_for("go", str)
    decided = await approval("Go on?", form=str, name="ok")
    return [first, done, second, decided]


diamond = Dag("crash.diamond", output="[left, right, last]")
diamond.add_step(work, id="top", arguments={"label": "top", "seconds": "{{ input[0] }}"})
for side in ("left", "right"):
    diamond.add_step(
        work, id=side, arguments={"label": side, "seconds": "{{ input[1] }}"}, depends_on=["top"]
    )
diamond.add_step(
    work, id="last", arguments={"label": "last", "seconds": "{{ input[2] }}"}, depends_on=["left", "right"]
)
