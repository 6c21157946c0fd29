"""`emit`: what a run tells is in its history once, and heard by those who listen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from holdfast import (
    Client,
    InvalidInput,
    NotInWorkflow,
    PayloadTooLarge,
    RunFailed,
    Worker,
    continue_as_new,
    emit,
    step,
    workflow,
)
from holdfast.client.events import Event
from holdfast.indexer import Indexer
from holdfast.testing import replay_check


class Paid(BaseModel):
    amount: int


@step
async def twice_and_told(number: int) -> int:
    return 2 * number


@workflow
async def telling(number: int) -> int:
    await emit("invoice.sent")
    await emit("invoice.paid", Paid(amount=number))
    number = await twice_and_told(number)
    if number < 8:
        continue_as_new(number)
    await emit("done", {"number": number})
    return number


@workflow
async def telling_much() -> int:
    for number in range(400):  # 6 MB: more than one workflow task may carry
        await emit("much", "x" * 15_000 + str(number))
    return 400


@workflow
async def telling_wrong(event: str, size: int) -> None:
    await emit(event, "x" * size)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def heard(client: Client, run_id: str) -> list[Event]:
    await Indexer(client.temporal, await client.store.database()).catch_up()
    return [event async for event in client.events.listen(runs=[run_id], after=0, follow=False)]


async def test_what_is_emitted_is_heard_once_also_after_continuing_as_new(client: Client) -> None:
    async with Worker(client, [telling]):
        await client.run(telling, 2, id="t-1")
    for _ in range(2):
        found = [
            event for event in await heard(client, "t-1") if not event.kind.startswith(("step.", "workflow."))
        ]
        assert sorted((event.kind, str(event.payload.get("payload"))) for event in found) == [
            ("done", "{'number': 8}"),
            ("invoice.paid", "{'amount': 2}"),
            ("invoice.paid", "{'amount': 4}"),
            ("invoice.sent", "None"),
            ("invoice.sent", "None"),
        ]
        assert {event.workflow for event in found} == {"telling"}
    await replay_check([await client.get("t-1").history()], [telling])


async def test_more_than_one_task_may_carry_is_told_over_several(client: Client) -> None:
    async with Worker(client, [telling_much]):
        assert await client.run(telling_much, id="m-1") == 400
    assert len([event for event in await heard(client, "m-1") if event.kind == "much"]) == 400


async def test_what_cannot_be_emitted_fails_the_run_with_the_reason(client: Client) -> None:
    async with Worker(client, [telling_wrong]):
        for event, size, error in (
            ("workflow.completed", 1, InvalidInput),
            ("a*", 1, InvalidInput),
            ("fine", 20_000, PayloadTooLarge),
        ):
            with pytest.raises(RunFailed) as failed:
                await client.run(telling_wrong, event, size)
            assert failed.value.error_type == error.__name__


async def test_elsewhere_it_says_so() -> None:
    with pytest.raises(NotInWorkflow):
        await emit("x")
