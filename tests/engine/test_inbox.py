"""Messages, waits, approvals, state, queries and updates of a run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from holdfast import (
    AlreadyDecided,
    AlreadyStarted,
    Client,
    Decision,
    InvalidInput,
    NotFound,
    NotInWorkflow,
    PayloadTooLarge,
    RunClosed,
    RunFailed,
    RunState,
    WaitTimeout,
    Worker,
    approval,
    continue_as_new,
    set_state,
    wait_for,
    workflow,
)
from holdfast.testing import fast_forward

from .mail_flows import mail_counter, opened
from .support import eventually, replay


class Parcel(BaseModel):
    number: int
    label: str = "none"


@dataclass
class Verdict:
    ok: bool
    why: str


@workflow
async def mail_numbers(count: int) -> list[int]:
    set_state("reading")
    return [await wait_for("number", int) for _ in range(count)]


@workflow
async def mail_parcel(seconds: float) -> str:
    await asyncio.sleep(seconds)
    try:
        parcel = await wait_for("parcel", Parcel, timeout=timedelta(hours=1))
    except WaitTimeout as exc:
        return exc.message
    return f"{type(parcel).__name__} {parcel.number} {isinstance(parcel, Parcel)}"


@workflow
async def mail_two() -> list[Any]:
    return list(
        await asyncio.gather(
            wait_for("a", int), wait_for("b", Annotated[int, Field(gt=0)]), wait_for("c", Parcel | None)
        )
    )


@workflow
async def mail_ask(prompt: str) -> Decision:
    return await approval(prompt, timeout=timedelta(days=2))


@workflow
async def mail_ask_form() -> str:
    verdict = await approval("Good?", form=Verdict, name="verdict")
    return verdict.why


@workflow
async def mail_ask_twice() -> list[bool]:
    first = await approval("Sure?")
    second = await approval("Sure?")
    return [first.approved, second.approved]


@workflow
async def mail_ask_loop() -> list[bool]:
    return [(await approval("Again?", name="again")).approved for _ in range(2)]


@workflow
async def mail_rounds(n: int) -> list[int]:
    if n == 0:
        await wait_for("begin", bool)
        continue_as_new(1)
    return [await wait_for("number", int), await wait_for("number", int)]


async def test_messages_are_taken_in_order_each_once(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_numbers]):
        run = await holdfast_client.start(mail_numbers, 3)
        for number in (5, 6, 7):
            assert await run.send("number", number) == "delivered"
        assert await run.result() == [5, 6, 7]
        await replay(run, mail_numbers)


async def test_a_message_is_kept_from_before_anybody_waits(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_parcel]):
        run = await holdfast_client.start(mail_parcel, 1.0)
        assert await run.send("parcel", Parcel(number=3)) == "delivered"
        assert await run.result() == "Parcel 3 True"
        await replay(run, mail_parcel)


async def test_a_message_may_go_with_the_start(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_parcel]):
        run = await holdfast_client.start(mail_parcel, 0.0, message=("parcel", Parcel(number=4)))
        assert await run.result() == "Parcel 4 True"


async def test_a_message_with_a_start_under_a_known_id(holdfast_client: Client) -> None:
    start = holdfast_client.start
    run = await start(mail_numbers, 3, id="n", message=("number", 1), if_exists="return")
    with pytest.raises(AlreadyStarted):
        await start(mail_numbers, 3, id="n", message=("number", 0))
    await start(mail_numbers, 3, id="n", message=("number", 2), if_exists="return")
    async with Worker(holdfast_client, [mail_numbers]):
        await run.send("number", 3)
        assert await run.result() == [1, 2, 3]
        with pytest.raises(RunClosed):
            await start(mail_numbers, 3, id="n", message=("number", 4), if_exists="return")
        again = await start(mail_numbers, 1, id="n", message=("number", 5), if_exists="restart")
        assert await again.result() == [5]
        await replay(again, mail_numbers)
    with pytest.raises(PayloadTooLarge, match="Send it with"):
        await start(mail_numbers, 1, message=("number", "x" * 300_000))
    with pytest.raises(InvalidInput, match=r"name of its own"):
        await start(mail_numbers, 1, message=("holdfast.x", 1))


async def test_a_message_sent_while_no_worker_runs_is_kept(holdfast_client: Client) -> None:
    run = await holdfast_client.start(mail_numbers, 1)
    assert await run.send("number", 8) == "queued"
    async with Worker(holdfast_client, [mail_numbers]):
        assert await run.result() == [8]


async def test_a_queued_message_counts_once_although_the_update_arrives_too(holdfast_client: Client) -> None:
    # The update waits at the server until a worker comes; by then `send` has left the signal.
    run = await holdfast_client.start(mail_numbers, 2)
    sent = asyncio.create_task(run.send("number", 1))
    await asyncio.sleep(1.9)
    async with Worker(holdfast_client, [mail_numbers]):
        assert await sent in ("queued", "delivered")
        await asyncio.sleep(0.5)
        assert await run.send("number", 2) == "delivered"
        assert await run.result() == [1, 2]
        await replay(run, mail_numbers)


async def test_the_same_message_id_counts_once(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_numbers]):
        run = await holdfast_client.start(mail_numbers, 2)
        handle = holdfast_client.temporal.get_workflow_handle(run.id)
        await handle.signal("number", args=[1, {"id": "same"}])
        await handle.execute_update("number", args=[1, {"id": "same"}])
        await handle.signal("number", args=[1, {"id": "same"}])
        await run.send("number", 2)
        assert await run.result() == [1, 2]


async def test_sending_that_is_cancelled_stops_there(holdfast_client: Client) -> None:
    run = await holdfast_client.start(mail_numbers, 1)
    sending = asyncio.create_task(run.send("number", 1))
    await asyncio.sleep(0.5)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_message_of_the_wrong_type_is_refused_to_its_sender(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_numbers]):
        run = await holdfast_client.start(mail_numbers, 1)
        await opened(run)
        with pytest.raises(InvalidInput, match=r"Message 'number'.*'many'"):
            await run.send("number", "many")
        await run.send("number", 2)
        assert await run.result() == [2]


async def test_a_wrong_message_that_came_as_a_signal_is_dropped(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_numbers]):
        run = await holdfast_client.start(mail_numbers, 1)
        handle = holdfast_client.temporal.get_workflow_handle(run.id)
        await handle.signal("number", "many")
        await handle.signal("number")
        await handle.signal("number", args=[1, 2, 3])
        assert await run.result() == [1]


async def test_two_waits_at_a_time_get_their_own_messages(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_two]):
        run = await holdfast_client.start(mail_two)
        await opened(run)
        assert {wait.name for wait in (await run.describe()).waits} == {"a", "b", "c"}
        with pytest.raises(InvalidInput, match="greater than 0"):
            await run.send("b", 0)
        await run.send("c", None)
        await run.send("b", 2)
        await run.send("a", 1)
        assert await run.result() == [1, 2, None]


async def test_a_wait_ends_after_its_timeout(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_parcel]):
        run = await holdfast_client.start(mail_parcel, 0.0)
        assert await run.result() == "nobody answered 'parcel' within 1:00:00"
        await replay(run, mail_parcel)


async def test_a_message_after_the_end_is_refused(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_numbers]):
        run = await holdfast_client.start(mail_numbers, 0)
        await run.result()
        with pytest.raises(RunClosed, match="completed"):
            await run.send("number", 1)
        with pytest.raises(RunClosed):
            await run.cancel()
        with pytest.raises(RunClosed):
            await run.update("number", 1)
    with pytest.raises(NotFound, match="no-such-run"):
        await holdfast_client.get("no-such-run").send("number", 1)


@pytest.mark.parametrize("name", ["", "holdfast.pause", "__temporal_x"])
async def test_a_message_needs_a_name_of_its_own(holdfast_client: Client, name: str) -> None:
    with pytest.raises(InvalidInput):
        await holdfast_client.get("any").send(name, 1)


async def test_an_approval_is_listed_and_decided_once(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_ask]):
        run = await holdfast_client.start(mail_ask, "Ship it?")
        (found,) = await eventually(lambda: holdfast_client.approvals.list(run_id=run.id))
        assert (found.run_id, found.workflow, found.name, found.prompt) == (
            run.id,
            "mail_ask",
            "ship-it",
            "Ship it?",
        )
        assert found.form["required"] == ["approved"]
        assert found.deadline is not None
        assert found.deadline - found.since == timedelta(days=2)
        assert await run.status() is RunState.WAITING
        with pytest.raises(InvalidInput, match="approved"):
            await holdfast_client.approvals.decide(run.id, "ship-it", by="Ada")
        with pytest.raises(InvalidInput, match="answer is missing"):
            await holdfast_client.approvals.decide(run.id, "ship-it")
        decide = holdfast_client.approvals.decide
        answers = await asyncio.gather(
            decide(run.id, "ship-it", approved=True, by="Ada"),
            decide(run.id, "ship-it", approved=False, by="Bob"),
            return_exceptions=True,
        )
        (refused,) = [answer for answer in answers if isinstance(answer, Exception)]
        assert isinstance(refused, AlreadyDecided | RunClosed)
        decision = await run.result()
        assert isinstance(decision, Decision)
        assert decision.by == ("Ada" if answers[0] == "delivered" else "Bob")
        with pytest.raises(RunClosed):
            await decide(run.id, "ship-it", approved=True)
        assert await holdfast_client.approvals.list(run_id=run.id) == []
        await replay(run, mail_ask)


async def test_an_approval_may_have_a_form_of_its_own(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_ask_form]):
        run = await holdfast_client.start(mail_ask_form)
        await opened(run)
        with pytest.raises(InvalidInput, match="why"):
            await holdfast_client.approvals.decide(run.id, "verdict", ok=True)
        await holdfast_client.approvals.decide(run.id, "verdict", Verdict(ok=True, why="fine"))
        assert await run.result() == "fine"


async def test_the_same_question_twice_makes_two_approvals(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_ask_twice]):
        run = await holdfast_client.start(mail_ask_twice)
        await holdfast_client.approvals.decide(run.id, "sure", approved=True)
        with pytest.raises(AlreadyDecided):
            await holdfast_client.approvals.decide(run.id, "sure", approved=True)
        await holdfast_client.approvals.decide(run.id, "sure-2", approved=False)
        assert await run.result() == [True, False]


async def test_a_second_decision_never_answers_the_next_approval(holdfast_client: Client) -> None:
    run = await holdfast_client.start(mail_ask_loop)
    handle = holdfast_client.temporal.get_workflow_handle(run.id)
    await handle.signal("again", args=[{"approved": True}, {"id": "1"}])
    await handle.signal("again", args=[{"approved": True}, {"id": "2"}])
    async with Worker(holdfast_client, [mail_ask_loop]):
        await opened(run)
        await holdfast_client.approvals.decide(run.id, "again", approved=False)
        assert await run.result() == [True, False]


async def test_an_approval_that_expired_takes_no_decision(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_ask]):
        run = await holdfast_client.start(mail_ask, "Ship it?")
        await opened(run)
        await fast_forward(run, timedelta(days=1))
        assert await run.status() is RunState.WAITING
        with pytest.raises(RunFailed, match="WaitTimeout: nobody answered 'ship-it' within 2 days"):
            await run.result()
        with pytest.raises(RunClosed):
            await holdfast_client.approvals.decide(run.id, "ship-it", approved=True)


async def test_unread_messages_go_along_when_a_run_continues_as_new(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_rounds]):
        run = await holdfast_client.start(mail_rounds, 0)
        await run.send("number", 1)
        await run.send("begin", True)
        await run.send("number", 2)
        assert await run.result() == [1, 2]
        await replay(run, mail_rounds)


async def test_waits_survive_a_worker_that_keeps_no_run_in_memory(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_ask_twice, mail_counter], max_cached_runs=0):
        asking = await holdfast_client.start(mail_ask_twice)
        counter = await holdfast_client.start(mail_counter, 1)
        await opened(counter)
        await holdfast_client.approvals.decide(asking.id, "sure", approved=True)
        assert await counter.update("add", 4, result=int) == 5
        assert await counter.state() == {"count": 5}
        await holdfast_client.approvals.decide(asking.id, "sure-2", approved=False)
        await counter.send("stop")
        assert await asking.result() == [True, False]
        assert await counter.result() == 5


async def test_waits_belong_into_a_workflow() -> None:
    with pytest.raises(NotInWorkflow, match="wait_for"):
        await wait_for("x", int)
    with pytest.raises(NotInWorkflow, match="approval"):
        await approval("x")
    with pytest.raises(NotInWorkflow, match="set_state"):
        set_state(1)
