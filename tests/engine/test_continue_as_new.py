"""A run that begins again with an empty history keeps all that it must know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import (
    Client,
    NotInWorkflow,
    RunFailed,
    RunState,
    RunTimedOut,
    Worker,
    approval,
    continue_as_new,
    set_state,
    step,
    wait_for,
    workflow,
)

from .support import eventually, replay, until

LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


@step
async def again_note(text: str) -> str:
    LOG.append(text)
    return text


@workflow
async def again_count(number: int, last: int = 3, *, text: str = "none") -> str:
    set_state(number)
    await again_note(f"{number} {text}")
    if number < last:
        continue_as_new(number + 1)
    return f"{number} {last} {text}"


@workflow
async def again_keywords(number: int, *, text: str = "first") -> str:
    if number == 0:
        continue_as_new(1, text="second")
    return text


@workflow
async def again_wrong(kind: str) -> None:
    if kind == "many":
        continue_as_new("a", "b")
    if kind == "type":
        continue_as_new(5)
    if kind == "object":
        continue_as_new(object())
    continue_as_new()


@workflow(timeout=timedelta(seconds=3))
async def again_for_ever(number: int) -> None:
    await wait_for("never", int, timeout=timedelta(seconds=1)) if number % 2 else await again_note("x")
    continue_as_new(number + 1)


@workflow
async def again_paused(number: int) -> int:
    if number == 0:
        await wait_for("go", bool)
        continue_as_new(1)
    await again_note("after")
    return number


@workflow
async def again_asks(number: int) -> bool:
    answer = await approval("Go on?", name="go-on" if number == 0 else "go-on-2")
    if number == 0:
        continue_as_new(1)
    return answer.approved


class Level(BaseModel):
    number: int


@workflow
async def again_level(count: int) -> int:
    if count == 0:
        set_state(Level(number=40))
        await wait_for("go", str)
        continue_as_new(1)
    await wait_for("end", str)
    return 0


@again_level.query
def level(state: Level) -> int:
    return state.number


@again_level.update
def raise_level(state: Level, by: int) -> int:
    state.number += by
    return state.number


@workflow
async def again_wide(count: int) -> int:
    if count == 0:
        set_state("x" * 70_000)
        continue_as_new(1)
    return count


async def test_the_state_goes_along_and_keeps_its_type(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [again_level]):
        run = await holdfast_client.start(again_level, 0)
        first = (await run.describe()).execution_id
        await run.send("go", "on")

        async def continued() -> bool:
            return (await run.describe()).execution_id != first

        await eventually(continued)
        assert await run.state() == {"number": 40}
        assert await run.query("level", result=int) == 40
        assert await run.update("raise_level", 1, result=int) == 41
        assert await run.update("raise_level", 1, result=int) == 42
        assert await run.state(Level) == Level(number=42)
        await run.send("end", "now")
        await run.result()
        await replay(run, again_level)


async def test_a_state_that_is_too_large_stays_behind(
    holdfast_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with Worker(holdfast_client, [again_wide]):
        run = await holdfast_client.start(again_wide, 0)
        assert await run.result() == 1
        assert await run.state() is None
    assert "at most 65536 go along" in caplog.text


async def test_defaults_and_the_id_stay(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [again_count]):
        run = await holdfast_client.start(again_count, 0, id="again")
        assert await run.result() == "3 3 none"
        assert run.id == "again"
        assert await run.state() == 3
        assert LOG == ["0 none", "1 none", "2 none", "3 none"]
        assert (await run.describe()).state is RunState.COMPLETED
        await replay(run, again_count)

        async def listed_once() -> bool:
            return await holdfast_client.runs.count() == 1

        await eventually(listed_once)


async def test_keywords_may_be_given(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [again_keywords]):
        assert await holdfast_client.run(again_keywords, 0) == "second"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("many", "again_wrong got 2 arguments"),
        ("type", "Argument 'kind'"),
        ("object", "Argument 'kind'"),
        ("none", "misses the argument 'kind'"),
    ],
)
async def test_wrong_arguments_fail_the_run_with_a_clear_error(
    holdfast_client: Client, kind: str, message: str
) -> None:
    async with Worker(holdfast_client, [again_wrong]):
        with pytest.raises(RunFailed, match=message) as failed:
            await holdfast_client.run(again_wrong, kind)
        assert failed.value.error_type == "InvalidInput"


async def test_a_pause_goes_along(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [again_paused]):
        run = await holdfast_client.start(again_paused, 0)
        await run.pause("lunch")
        await run.send("go", True)

        async def continued() -> bool:
            history = await run.history()
            return (
                history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id != ""
            )

        await eventually(continued)
        assert await run.status() is RunState.PAUSED
        assert LOG == []
        await run.resume()
        assert await run.result() == 1


async def test_the_time_limit_goes_along(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [again_for_ever]):
        with pytest.raises((RunTimedOut, RunFailed)):
            await holdfast_client.run(again_for_ever, 0)


async def test_an_approval_after_it_is_listed(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [again_asks]):
        run = await holdfast_client.start(again_asks, 0)
        await holdfast_client.approvals.decide(run.id, "go-on", approved=True)

        async def second() -> bool:
            found = await holdfast_client.approvals.list(run_id=run.id)
            return [approval.name for approval in found] == ["go-on-2"]

        await eventually(second)
        await holdfast_client.approvals.decide(run.id, "go-on-2", approved=True)
        assert await run.result() is True


async def test_it_belongs_into_a_workflow() -> None:
    with pytest.raises(NotInWorkflow, match="continue_as_new"):
        continue_as_new(1)
    await until(lambda: True)
