"""A history that is full: said in time, before Temporal ends the run without compensation."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.enums.v1 import EventType

from holdfast import Client, Run, RunFailed, Worker, set_state, step, wait_for, workflow
from holdfast.engine import full
from holdfast.errors import InvalidInput

UNDONE: list[int] = []


@step(name="full.act")
async def act(number: int) -> int:
    return number


@act.compensate
async def take_back(number: int, result: int | None) -> None:
    UNDONE.append(number)


@workflow
async def acts_for_ever() -> None:
    for number in range(1_000_000):
        await act(number)


@workflow
async def takes_for_ever() -> None:
    taken = list[int]()
    while True:
        taken.append(await wait_for("item", int))
        set_state(taken)


@workflow
async def takes(count: int) -> list[int]:
    return [await wait_for("item", int) for _ in range(count)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "FULL_EVENTS", 60)
    UNDONE.clear()


@pytest.mark.usefixtures("small")
async def test_a_run_with_a_full_history_fails_and_undoes_what_it_did(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [acts_for_ever]):
        with pytest.raises(RunFailed, match=r"can begin no more steps.*continue_as_new"):
            await holdfast_client.run(acts_for_ever)
    assert UNDONE
    assert list(range(len(UNDONE)))[::-1] == UNDONE


@pytest.mark.usefixtures("small")
async def test_messages_that_a_full_history_would_lose_are_refused(holdfast_client: Client) -> None:
    run = await holdfast_client.start(takes_for_ever)
    taken = list[int]()
    async with Worker(holdfast_client, [takes_for_ever]):
        with pytest.raises(InvalidInput, match=r"takes no more messages.*continue_as_new"):
            await send_all(run, taken)
        assert await run.state() == taken
        assert not (await run.status()).closed
    with pytest.raises(InvalidInput, match="takes no more messages"):
        await run.send("item", 1000)
    await run.terminate()


async def send_all(run: Run[None], taken: list[int]) -> None:
    for number in range(1000):
        await run.send("item", number)
        taken.append(number)


async def test_messages_that_were_there_before_their_waits_cost_a_history_nothing(
    holdfast_client: Client,
) -> None:
    run = await holdfast_client.start(takes, 100)
    handle = holdfast_client.temporal.get_workflow_handle(run.id)
    for number in range(100):
        await handle.signal("item", number)
    async with Worker(holdfast_client, [takes]), asyncio.timeout(60):
        assert await run.result() == list(range(100))
    events = (await run.history()).events
    assert not [e for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED]
