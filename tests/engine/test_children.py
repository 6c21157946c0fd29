"""A workflow called by a workflow is a run of its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from holdfast import (
    AlreadyStarted,
    Client,
    Permanent,
    RunCancelled,
    RunFailed,
    RunState,
    Worker,
    continue_as_new,
    step,
    workflow,
)

from .support import eventually, replay

LOG: list[tuple[object, ...]] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


@step
async def family_book(name: str) -> str:
    if name == "bad":
        raise Permanent("no room")
    return name


@family_book.compensate
async def family_unbook(name: str, result: str | None) -> None:
    LOG.append(("unbook", name))


@workflow
async def family_child(name: str, *, seconds: float = 0) -> str:
    await family_book(name)
    await asyncio.sleep(seconds)
    if name == "angry":
        raise ValueError("the child is angry")
    return f"child {name}"


@workflow
async def family_parent(names: list[str], seconds: float = 0) -> list[str]:
    await family_book("parent")
    return list(await asyncio.gather(*[family_child(name, seconds=seconds) for name in names]))


@workflow
async def family_patient(name: str) -> str:
    try:
        await family_child(name)
    except RunFailed as failed:
        return f"{failed.run_id.rpartition(':')[0].rpartition(':')[2]}: {failed.error_type}"
    return "no failure"


@workflow
async def family_names() -> str:
    return await family_child.with_options(id="my-own-child")("x")


@workflow
async def family_impatient() -> str:
    try:
        async with asyncio.timeout(1):
            await family_child("slow", seconds=1000)
    except TimeoutError:
        return "too slow"
    return "quick"


@workflow
async def family_rounds(n: int) -> int:
    await family_child(f"round {n}")
    if n < 2:
        continue_as_new(n + 1)
    return n


@workflow
async def family_large(count: int) -> int:
    return len(await asyncio.gather(*[family_child("x" * 300_000) for _ in range(count)]))


async def test_children_run_with_ids_of_their_own_and_give_results(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_parent, family_child]):
        run = await holdfast_client.start(family_parent, ["a", "b"], id="p")
        assert await run.result() == ["child a", "child b"]
        assert await holdfast_client.get("p:family_child:2", family_child).result() == "child b"
        await replay(run, family_parent, family_child)
    assert LOG == []


async def test_a_failed_child_fails_the_parent_and_both_undo(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_parent, family_child]):
        run = await holdfast_client.start(family_parent, ["angry"], id="p")
        with pytest.raises(RunFailed, match=r"p:family_child:1.*ValueError: the child is angry"):
            await run.result()
        await replay(run, family_parent, family_child)
    assert LOG == [("unbook", "angry"), ("unbook", "parent")]


async def test_a_parent_may_catch_a_failed_child(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_patient, family_child]):
        assert await holdfast_client.run(family_patient, "angry") == "family_child: ValueError"
        assert await holdfast_client.run(family_patient, "bad") == "family_child: StepFailed"


async def test_a_cancel_reaches_the_children_and_all_undo(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_parent, family_child]):
        run = await holdfast_client.start(family_parent, ["a", "b"], 1000, id="p")
        child = holdfast_client.get("p:family_child:2")
        await eventually(lambda: _waits(child))
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        with pytest.raises(RunCancelled):
            await child.result()
        assert await run.status() is RunState.CANCELLED
        await replay(run, family_parent, family_child)
    assert sorted(LOG[:2]) == [("unbook", "a"), ("unbook", "b")]
    assert LOG[2:] == [("unbook", "parent")]


async def _waits(child: object) -> bool:
    from holdfast import NotFound, Run

    assert isinstance(child, Run)
    try:
        return await child.status() is RunState.WAITING
    except NotFound:
        return False


async def test_a_child_that_somebody_cancels_fails_the_parent(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_parent, family_child]):
        run = await holdfast_client.start(family_parent, ["a"], 1000, id="p")
        child = holdfast_client.get("p:family_child:1")
        await eventually(lambda: _waits(child))
        await child.cancel()
        with pytest.raises(RunFailed, match="child run 'p:family_child:1' was cancelled") as failed:
            await run.result()
        assert not isinstance(failed.value, RunCancelled)
        assert await run.status() is RunState.FAILED
    assert LOG == [("unbook", "a"), ("unbook", "parent")]


async def test_a_timeout_around_a_child_cancels_it(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_impatient, family_child]):
        run = await holdfast_client.start(family_impatient, id="p")
        assert await run.result() == "too slow"
        with pytest.raises(RunCancelled):
            await holdfast_client.get("p:family_child:1").result()
        await replay(run, family_impatient, family_child)
    assert LOG == [("unbook", "slow")]


async def test_a_child_may_have_an_id_of_its_own(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_names, family_child]):
        assert await holdfast_client.run(family_names) == "child x"
        assert await holdfast_client.get("my-own-child").result() == "child x"


async def test_children_of_a_continued_run_get_new_ids(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_rounds, family_child]):
        assert await holdfast_client.run(family_rounds, 0, id="p") == 2
        for number in (1, 2, 3):
            assert (
                await holdfast_client.get(f"p:family_child:{number}").result() == f"child round {number - 1}"
            )


async def test_many_children_with_large_arguments(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_large, family_child]):
        run = await holdfast_client.start(family_large, 20)
        assert await run.result(timeout=timedelta(hours=1)) == 20


async def test_a_child_id_that_is_taken_is_named(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [family_names, family_child]):
        await holdfast_client.start(family_child, "x", id="my-own-child", delay=timedelta(hours=1))
        with pytest.raises(RunFailed, match="my-own-child") as failed:
            await holdfast_client.run(family_names)
        assert failed.value.error_type == AlreadyStarted.__name__
