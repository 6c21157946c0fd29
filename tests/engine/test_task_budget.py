"""However much a run does at once, it stays under what Temporal takes, and can undo it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from holdfast import Client, Permanent, RetryPolicy, RunFailed, Worker, continue_as_new, step, workflow
from holdfast.engine.task_budget import MAX_OPEN_STEPS

from .support import replay, until

DONE: list[int] = []
UNDONE: list[int] = []
STARTED: set[int] = set()
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    DONE.clear()
    UNDONE.clear()
    STARTED.clear()


@step(retry=ONCE)
async def wide_plain(number: int, blob: str) -> int:
    if blob == "bad":
        raise Permanent("one is bad")
    DONE.append(number)
    return number


@wide_plain.compensate
async def undo_wide_plain(number: int, blob: str, result: int | None) -> None:
    UNDONE.append(number)


@step(local=True, retry=ONCE)
async def wide_local(number: int, size: int) -> str:
    return "x" * size


@step(local=True, idempotent=True, retry=ONCE)
async def wide_undone(number: int, size: int) -> str:
    if size < 0:
        raise Permanent("one is bad")
    return "x" * size


@wide_undone.compensate
async def undo_wide_local(number: int, size: int, result: str | None) -> None:
    UNDONE.append(number)


@step
async def wide_meeting(number: int, count: int, blob: str) -> int:
    STARTED.add(number)
    await until(lambda: len(STARTED) == count, 8)
    return number


@step
async def text_of(size: int) -> str:
    return "x" * size


@step
async def rows_of(count: int) -> list[dict[str, int]]:
    return [{"id": number, "twice": number * 2} for number in range(count)]


@step
async def count_rows(rows: list[dict[str, int]]) -> int:
    return len(rows)


@step
async def length_of(text: str) -> int:
    return len(text)


@workflow
async def wide_run(count: int, size: int, bad: bool) -> int:
    done = await asyncio.gather(*[wide_plain(number, "x" * size) for number in range(count)])
    if bad:
        await wide_plain(-1, "bad")
    return len(done)


@workflow
async def wide_local_run(count: int, size: int, bad: bool) -> int:
    called = wide_undone if bad else wide_local
    done = await asyncio.gather(*[called(number, size) for number in range(count)])
    if bad:
        await wide_undone(-1, -1)
    return sum(map(len, done))


@workflow
async def wide_meet(count: int) -> int:
    return len(await asyncio.gather(*[wide_meeting(n, count, "x" * 100_000) for n in range(count)]))


@workflow
async def large_values(text: str) -> list[int]:
    result = await text_of(3_000_000)
    return [await length_of(text), await length_of(result), len(text + result)]


@workflow
async def large_rows(count: int) -> int:
    return await count_rows(await rows_of(count))


@workflow
async def too_large(size: int) -> int:
    return await length_of(await text_of(size))


@workflow
async def too_large_here(size: int) -> int:
    return await length_of("x" * size)


@workflow
async def large_result(size: int) -> str:
    return "x" * size


@workflow
async def wide_continued(n: int) -> int:
    for number in range(10):
        await wide_plain(n * 10 + number, "x" * 200_000)
    if n == 0:
        continue_as_new(1)
    raise ValueError("the cause")


async def test_500_steps_with_100_kb_arguments_complete(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [wide_run]):
        run = await holdfast_client.start(wide_run, 500, 100_000, False)
        assert await run.result() == 500
        await replay(run, wide_run)
    assert UNDONE == []


async def test_500_steps_are_undone_when_a_later_one_fails(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [wide_run]):
        with pytest.raises(RunFailed, match="one is bad"):
            await holdfast_client.run(wide_run, 500, 100_000, True)
    assert sorted(UNDONE) == sorted(DONE) == list(range(500))


async def test_500_local_steps_with_20_kb_results_complete(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [wide_local_run]):
        run = await holdfast_client.start(wide_local_run, 500, 20_000, False)
        assert await run.result() == 10_000_000
        await replay(run, wide_local_run)


async def test_500_local_steps_are_undone_when_a_later_one_fails(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [wide_local_run]):
        with pytest.raises(RunFailed, match="one is bad"):
            await holdfast_client.run(wide_local_run, 500, 20_000, True)
    assert sorted(UNDONE) == list(range(500))


async def test_steps_that_wait_for_each_other_all_start(holdfast_client: Client) -> None:
    # 30 x 100 KB do not fit one workflow task, and none of the steps ends before all have started.
    async with Worker(holdfast_client, [wide_meet]):
        assert await holdfast_client.run(wide_meet, 30) == 30


async def test_more_steps_than_may_be_open_complete(
    holdfast_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_OPEN_STEPS == 500
    monkeypatch.setattr("holdfast.engine.task_budget.MAX_OPEN_STEPS", 10)
    async with Worker(holdfast_client, [wide_run]):
        assert await holdfast_client.run(wide_run, 25, 10, False) == 25


async def test_3_mb_travel_as_arguments_and_results(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [large_values, large_result]):
        run = await holdfast_client.start(large_values, "x" * 3_000_000)
        assert await run.result() == [3_000_000, 3_000_000, 6_000_000]
        await replay(run, large_values)
        assert len(await holdfast_client.run(large_result, 3_000_000)) == 3_000_000


async def test_45_mb_of_rows_go_from_step_to_step(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [large_rows]):
        assert await holdfast_client.run(large_rows, 1_700_000) == 1_700_000


async def test_60_mib_are_refused_with_step_and_size(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [too_large, too_large_here]):
        with pytest.raises(RunFailed, match=r"PayloadTooLarge: .*text_of.*60\.0 MiB"):
            await holdfast_client.run(too_large, 60 * 1024 * 1024)
        with pytest.raises(RunFailed, match=r"PayloadTooLarge: .*length_of.*60\.0 MiB"):
            await holdfast_client.run(too_large_here, 60 * 1024 * 1024)


async def test_compensations_with_large_arguments_go_along_when_a_run_continues(
    holdfast_client: Client,
) -> None:
    async with Worker(holdfast_client, [wide_continued]):
        run = await holdfast_client.start(wide_continued, 0)
        with pytest.raises(RunFailed, match="the cause"):
            await run.result(timeout=timedelta(hours=1))
    assert list(reversed(range(20))) == UNDONE


async def test_without_a_storage_wide_runs_complete_and_undo(holdfast_client: Client) -> None:
    address, namespace = holdfast_client.address, holdfast_client.namespace
    async with (
        Client.connect(address, namespace=namespace) as inline,
        Worker(inline, [wide_run, wide_local_run, wide_meet]),
    ):
        assert await inline.run(wide_run, 50, 100_000, False) == 50
        assert await inline.run(wide_local_run, 60, 100_000, False) == 6_000_000
        with pytest.raises(RunFailed, match="one is bad"):
            await inline.run(wide_run, 20, 100_000, True)
        assert len(UNDONE) == 20
        with pytest.raises(RunFailed, match="one is bad"):
            await inline.run(wide_local_run, 20, 100_000, True)
        assert len(UNDONE) == 40
        with pytest.raises(RunFailed, match="local step 'wide_local' has 292 KiB"):
            await inline.run(wide_local_run, 1, 300_000, False)


@pytest.mark.parametrize("size", [1_900_000, 3_000_000])
async def test_without_a_storage_what_is_too_large_is_refused_not_stuck(
    holdfast_client: Client, size: int
) -> None:
    address, namespace = holdfast_client.address, holdfast_client.namespace
    async with (
        Client.connect(address, namespace=namespace) as inline,
        Worker(inline, [too_large, too_large_here, large_result, wide_run]),
    ):
        for work in (
            inline.run(too_large, size, timeout=timedelta(seconds=20)),
            inline.run(too_large_here, size, timeout=timedelta(seconds=20)),
            inline.run(large_result, size, timeout=timedelta(seconds=20)),
        ):
            if size < 2_000_000:
                await work
            else:
                with pytest.raises(RunFailed, match="PayloadTooLarge"):
                    await work
