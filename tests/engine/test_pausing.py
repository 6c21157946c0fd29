"""A run that is paused begins nothing new, and nothing below it does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast import Client, NotFound, Run, RunState, StepState, Worker, map_steps, step, wait_for, workflow
from holdfast.engine.history import Opened, build_description
from holdfast.engine.maps import mapper
from holdfast.indexer.telling import events_of

from .support import eventually, replay

GATE = asyncio.Event()


@step
async def hold_note(text: str) -> str:
    return text


@step
async def hold_item(number: int) -> int:
    if number == 0:
        await GATE.wait()
    return number


@workflow
async def hold_child(name: str) -> str:
    await hold_note(f"{name}1")
    await wait_for("next", str)
    return await hold_note(f"{name}2")


@workflow
async def hold_between(name: str) -> str:
    return await hold_child(name)


@workflow
async def hold_family() -> list[str]:
    async def late() -> str:
        await wait_for("late", str)
        return await hold_child.with_options(id="hold-late")("d")

    both = [hold_child.with_options(id=f"hold-{name}")(name) for name in "ab"]
    return list(await asyncio.gather(*both, hold_between("c"), late()))


@workflow
async def hold_map() -> list[int]:
    return await map_steps(hold_item, range(4), concurrency=1)


SERVED = [hold_child, hold_between, hold_family, hold_map]


async def state(run: Run[Any], wanted: RunState) -> None:
    async def reached() -> bool:
        return await run.status() is wanted

    await eventually(reached, 30)


async def waits(run: Run[Any]) -> None:
    async def reached() -> bool:
        try:
            return bool((await run.describe()).waits)
        except NotFound:  # not yet there
            return False

    await eventually(reached, 30)


async def count(run: Run[Any]) -> int:
    return len((await run.describe()).steps)


async def pauses(run: Run[Any]) -> list[str]:
    """What is told of it."""
    events = (await run.history()).events
    told = events_of(build_description(events), events, Opened())
    return [
        event.kind.removeprefix("workflow.") for event in told if event.kind.endswith(("paused", "resumed"))
    ]


async def test_a_pause_holds_all_that_is_below(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, SERVED):
        run = await holdfast_client.start(hold_family)
        a: Run[Any] = holdfast_client.get("hold-a")
        b: Run[Any] = holdfast_client.get("hold-b")
        c: Run[Any] = holdfast_client.get(f"{run.id}:hold_between:1:hold_child:1")
        for child in (a, b, c):
            await waits(child)
        await run.pause("the ledger is closed", by="ada")
        for child in (a, b, c):
            await state(child, RunState.PAUSED)
        described = await a.describe()
        assert described.waiting_for == f"paused by its parent {run.id}: the ledger is closed"
        await b.pause("this one longer")
        for child in (a, b, c):
            assert await child.send("next", "go") == "delivered"
            assert await count(child) == 1
        assert await run.send("late", "go") == "delivered"
        assert "hold-late" not in (await run.describe()).children
        await run.resume()
        assert [await a.result(), await c.result()] == ["a2", "c2"]
        assert (await b.status(), await count(b)) == (RunState.PAUSED, 1)
        await b.resume()
        assert await b.result() == "b2"
        late: Run[Any] = holdfast_client.get("hold-late")
        await waits(late)
        await run.pause()
        await state(late, RunState.PAUSED)
        await late.send("next", "go")
        await late.resume()  # a person may let a child go on by itself
        assert await late.result() == "d2"
        await run.resume()
        assert await run.result() == ["a2", "b2", "c2", "d2"]
        await replay(run, *SERVED)
        await replay(b, *SERVED)
        assert await pauses(a) == await pauses(c) == ["paused", "resumed"]
        assert await pauses(b) == ["paused", "paused", "resumed"]  # by its parent, and by somebody for longer
        assert await pauses(late) == ["paused", "resumed"]


async def test_a_pause_holds_the_parts_of_a_map(
    holdfast_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapper, "_ITEMS", 2)
    GATE.clear()
    async with Worker(holdfast_client, SERVED):
        run = await holdfast_client.start(hold_map)
        part: Run[Any] = holdfast_client.get(f"{run.id}:hold_item:0")

        async def begun() -> bool:
            return part.id in (await run.describe()).children and await count(part) == 1

        await eventually(begun, 30)
        await run.pause()
        await state(part, RunState.PAUSED)
        GATE.set()

        async def done() -> bool:
            return (await part.describe()).steps[0].state is StepState.COMPLETED

        await eventually(done, 30)
        assert (await part.status(), await count(part)) == (RunState.PAUSED, 1)
        await run.resume()
        assert await run.result() == [0, 1, 2, 3]
