"""`cancel_everywhere`: that it cancels where it says, and that it finds what a cancel breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from holdfast import Client, Permanent, Run, Worker, approval, step, step_info, workflow
from holdfast.testing import cancel_everywhere

ROOMS: dict[str, Counter[str]] = {}


def booked(run_id: str) -> Counter[str]:
    return ROOMS.setdefault(run_id, Counter())


@step
async def cancel_book(room: str) -> str:
    booked(step_info().run_id)[room] = 1
    return room


@cancel_book.compensate
async def cancel_unbook(room: str, booking: str | None) -> None:
    booked(step_info().run_id)[room] -= 1


@step
async def cancel_note(room: str) -> str:
    booked(step_info().run_id)[room] = 1
    return room


@workflow(sandboxed=False)
async def cancel_child(room: str) -> str:
    return await cancel_book(room)


@workflow(sandboxed=False)
async def cancel_trip(rooms: list[str]) -> str:
    await asyncio.gather(*(cancel_book(room) for room in rooms))
    await cancel_child("child's")
    decision = await approval("Go?", name="go", timeout=timedelta(days=1))
    return "go" if decision.approved else "stay"


@workflow(sandboxed=False)
async def cancel_leaves(room: str) -> None:
    await cancel_note(room)
    await cancel_book("other")


@workflow(sandboxed=False)
async def cancel_other_failure(room: str) -> str:
    try:
        return await cancel_note(room)
    except asyncio.CancelledError:
        raise Permanent("the room is lost") from None


async def decide(run: Run[str]) -> None:
    await run._client.approvals.decide(run.id, "go", approved=True)


async def test_a_sound_workflow_ends_cancelled_or_done_wherever_it_is_cancelled(
    holdfast_client: Client,
) -> None:
    def balanced(run_id: str) -> None:
        assert all(count in (0, 1) for count in booked(run_id).values()), booked(run_id)

    report = await cancel_everywhere(
        cancel_trip,
        ["red", "blue"],
        client=holdfast_client,
        worker=lambda client: Worker(client, [cancel_trip, cancel_child]),
        during=decide,
        verify=balanced,
    )
    assert not report.differences
    assert len(report.points) >= 20, report
    assert report.ends["cancelled"] >= 15, report
    assert report.ends.keys() <= {"cancelled", "completed"}, report
    whats = {point.what for point in report.points}
    assert {"the run", "workflow task 1", "cancel_book-1"} <= whats
    assert any(what.endswith("/cancel_book-1") for what in whats), "in children too"


async def test_what_a_cancel_leaves_behind_is_found_and_named(holdfast_client: Client) -> None:
    def nothing_left(run_id: str) -> None:
        assert not +booked(run_id) or booked(run_id)["other"], f"left: {booked(run_id)}"

    report = await cancel_everywhere(
        cancel_leaves, "red", client=holdfast_client, verify=nothing_left, check=False
    )
    found = {(one.point.what, one.point.moment): one.what for one in report.differences}
    assert found["cancel_note-1", "is recorded"].startswith("left: Counter({'red': 1"), report
    with pytest.raises(AssertionError, match=r"cancelled as .+ \(event \d+\): left: .*'red': 1"):
        await cancel_everywhere(cancel_leaves, "red", client=holdfast_client, verify=nothing_left)


async def test_a_cancel_that_becomes_another_failure_is_found(holdfast_client: Client) -> None:
    report = await cancel_everywhere(cancel_other_failure, "red", client=holdfast_client, check=False)
    assert "the room is lost" in str(report), report
    assert report.ends["failed"] >= 1
