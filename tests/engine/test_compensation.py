"""A run that ends failed or cancelled undoes what its steps did: once, in reverse, whatever happens meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast import (
    Client,
    RunCancelled,
    RunFailed,
    RunTimedOut,
    Worker,
)

from .saga_flows import (
    LOG,
    saga,
    saga_caught,
    saga_continued,
    saga_finally,
    saga_flaky,
    saga_gather,
    saga_late,
    saga_local,
    saga_order,
    saga_shaky,
    saga_slow,
    saga_stubborn,
    saga_undo_cancelled,
)
from .support import replay, until


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


UNDONE = [("unbook", "flight", "booked flight"), ("unbook", "hotel", "booked hotel")]


def undone() -> list[tuple[object, ...]]:
    return [entry for entry in LOG if str(entry[0]).startswith(("un", "refund", "local un"))]


async def test_a_completed_run_undoes_nothing(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga]):
        assert await holdfast_client.run(saga, "well") == "done"
    assert undone() == []


async def test_an_exception_undoes_completed_steps_in_reverse_order(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga]):
        run = await holdfast_client.start(saga, "changed")
        with pytest.raises(RunFailed, match="ValueError: changed my mind"):
            await run.result()
        await replay(run, saga)
    assert undone() == UNDONE


async def test_a_step_that_failed_for_good_at_once_is_not_undone(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga]):
        with pytest.raises(RunFailed, match="Permanent: no money"):
            await holdfast_client.run(saga, "permanent")
    assert undone() == UNDONE


async def test_a_step_with_unknown_outcome_is_undone_first_and_with_none(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga]):
        run = await holdfast_client.start(saga, "raises")
        with pytest.raises(RunFailed, match="ConnectionError: line is down") as failed:
            await run.result()
        await replay(run, saga)
    assert failed.value.details["step"] == "pay"
    assert undone() == [("refund", "trip", None), *UNDONE]


async def test_a_permanent_error_after_another_attempt_leaves_the_outcome_unknown(
    holdfast_client: Client,
) -> None:
    async with Worker(holdfast_client, [saga_flaky]):
        with pytest.raises(RunFailed, match="for good"):
            await holdfast_client.run(saga_flaky)
    assert LOG == [("try", "x"), ("try", "x"), ("undo", "x", None)]


async def test_a_caught_failure_undoes_nothing_while_the_run_goes_on(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_caught]):
        assert await holdfast_client.run(saga_caught) == "paid later"
    assert undone() == []


async def test_a_failed_compensation_is_reported_and_the_others_still_run(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_stubborn]):
        run = await holdfast_client.start(saga_stubborn)
        with pytest.raises(RunFailed, match="ValueError: the cause") as failed:
            await run.result()
        await replay(run, saga_stubborn)
    assert "second cannot be undone" in str(failed.value)
    assert len(failed.value.details["failed_compensations"]) == 1
    assert "compensate:stubborn-1: step 'stubborn'" in failed.value.details["failed_compensations"][0]
    assert undone() == [
        ("unbook", "third", "booked third"),
        ("undo stubborn", "second"),
        ("unbook", "first", "booked first"),
    ]


async def test_a_compensation_is_tried_again(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_shaky]):
        with pytest.raises(RunFailed, match="the cause") as failed:
            await holdfast_client.run(saga_shaky)
    assert LOG == [("undo shaky", "it")] * 3
    assert "failed_compensations" not in failed.value.details


async def test_a_cancelled_run_undoes_and_ends_cancelled(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_slow]):
        run = await holdfast_client.start(saga_slow)
        await until(lambda: ("slow starts",) in LOG)
        await run.cancel()
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        await replay(run, saga_slow)
    assert LOG[2:] == [("slow ends",), ("undo slow", None), ("unbook", "hotel", "booked hotel")]


async def test_a_run_past_its_timeout_undoes_and_ends_timed_out(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_late]):
        run = await holdfast_client.start(saga_late)
        with pytest.raises(RunTimedOut, match=r"timeout of 0:00:01"):
            await run.result()
        await replay(run, saga_late)
    assert LOG[2:] == [("slow ends",), ("undo slow", None), ("unbook", "hotel", "booked hotel")]


async def test_a_cancel_during_compensation_does_not_stop_it(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_shaky]):
        run = await holdfast_client.start(saga_shaky)
        await until(lambda: LOG)
        await run.cancel()
        with pytest.raises(RunFailed, match="the cause"):
            await run.result()
        await replay(run, saga_shaky)
    assert LOG == [("undo shaky", "it")] * 3


async def test_gathered_steps_are_undone_in_reverse_order_of_completion(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_order]):
        run = await holdfast_client.start(saga_order)
        with pytest.raises(RunFailed, match="the cause"):
            await run.result()
        await replay(run, saga_order)
    assert undone() == [
        ("refund", "third", "paid third"),
        ("refund", "second", "paid second"),
        ("refund", "first", "paid first"),
    ]


async def test_a_step_still_running_is_stopped_before_it_is_undone(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_gather]):
        run = await holdfast_client.start(saga_gather)
        with pytest.raises(RunFailed, match="no money"):
            await run.result()
        await replay(run, saga_gather)
    assert LOG.index(("slow ends",)) < LOG.index(("undo slow", None))
    assert ("book", "never") not in LOG
    assert LOG[-1] == ("unbook", "hotel", "booked hotel")


async def test_local_steps_are_undone_too(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_local]):
        run = await holdfast_client.start(saga_local)
        with pytest.raises(RunFailed, match="the cause"):
            await run.result()
        await replay(run, saga_local)
    assert undone() == [
        ("local unbook", "c", "booked c"),
        ("unbook", "b", "booked b"),
        ("local unbook", "a", "booked a"),
    ]


async def test_compensations_go_along_when_a_run_continues_as_new(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_continued]):
        run = await holdfast_client.start(saga_continued, 0)
        with pytest.raises(RunFailed, match="the cause"):
            await run.result()
        await replay(run, saga_continued)
    assert undone() == [("unbook", f"night {n}", f"booked night {n}") for n in (2, 1, 0)]


async def test_a_compensation_that_cancels_itself_counts_as_failed(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_undo_cancelled]):
        run = await holdfast_client.start(saga_undo_cancelled)
        with pytest.raises(RunFailed, match="the cause") as failed:
            await run.result(timeout=timedelta(hours=1))
    assert "compensate:cancels_itself-1" in failed.value.details["failed_compensations"][0]
    assert undone()[-1] == ("unbook", "hotel", "booked hotel")


async def test_steps_of_a_finally_block_run_before_compensation(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga_finally]):
        run = await holdfast_client.start(saga_finally)
        await until(lambda: ("slow starts",) in LOG)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
    assert LOG[2:] == [
        ("slow ends",),
        ("book", "cleanup"),
        ("undo slow", None),
        ("unbook", "cleanup", "booked cleanup"),
        ("unbook", "hotel", "booked hotel"),
    ]


@pytest.mark.parametrize("ending", ["well", "raises"])
async def test_a_worker_that_keeps_no_run_in_memory_compensates_as_well(
    holdfast_client: Client, ending: str
) -> None:
    async with Worker(holdfast_client, [saga], max_cached_runs=0):
        run = await holdfast_client.start(saga, ending)
        if ending == "well":
            assert await run.result() == "done"
        else:
            with pytest.raises(RunFailed, match="line is down"):
                await run.result()
    assert undone() == ([] if ending == "well" else [("refund", "trip", None), *UNDONE])


async def test_runs_that_take_turns_in_memory_do_not_compensate_by_mistake(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [saga, saga_slow], max_cached_runs=1):
        runs = [await holdfast_client.start(saga, "well") for _ in range(5)]
        slow_run = await holdfast_client.start(saga_slow)
        assert [await run.result() for run in runs] == ["done"] * 5
        await until(lambda: ("slow starts",) in LOG)
        assert undone() == []
        await slow_run.cancel()
        with pytest.raises(RunCancelled):
            await slow_run.result()
    assert undone() == [("undo slow", None), ("unbook", "hotel", "booked hotel")]
