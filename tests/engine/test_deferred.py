"""Steps that somebody else completes, by their token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast import (
    Client,
    InvalidInput,
    NotFound,
    RetryPolicy,
    RunFailed,
    Worker,
    step,
    step_info,
    workflow,
)
from holdfast.authoring.registry import fresh_registry

from .support import replay, until

TOKENS: list[str] = []


@step(deferred=True, retry=RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=20)))
async def later(question: str) -> int:
    TOKENS.append(step_info().token)
    step_info().complete_later()


@step(deferred=True)
def later_on_a_thread(question: str) -> int:
    TOKENS.append(step_info().token)
    step_info().complete_later()


@step
async def not_deferred() -> int:
    step_info().complete_later()


@workflow
async def ask_later(question: str, thread: bool = False) -> int:
    return await (later_on_a_thread(question) if thread else later(question))


@workflow
async def ask_wrongly() -> int:
    return await not_deferred()


@pytest.mark.parametrize("thread", [False, True])
async def test_a_deferred_step_ends_when_its_token_is_completed(
    holdfast_client: Client, thread: bool
) -> None:
    TOKENS.clear()
    async with Worker(holdfast_client, [ask_later]):
        run = await holdfast_client.start(ask_later, "?", thread)
        await until(lambda: TOKENS)
        await holdfast_client.steps.complete(TOKENS[0], 42)
        assert await run.result() == 42
        with pytest.raises(NotFound, match="no step waits for this token"):
            await holdfast_client.steps.complete(TOKENS[0], 43)
        await replay(run, ask_later)


async def test_a_deferred_step_that_fails_is_tried_again_unless_for_good(holdfast_client: Client) -> None:
    TOKENS.clear()
    async with Worker(holdfast_client, [ask_later]):
        run = await holdfast_client.start(ask_later, "?")
        await until(lambda: len(TOKENS) == 1)
        await holdfast_client.steps.fail(TOKENS[0], "not today")
        await until(lambda: len(TOKENS) == 2)
        await holdfast_client.steps.fail(TOKENS[1], "never", permanent=True)
        with pytest.raises(RunFailed, match="Permanent: never"):
            await run.result()


async def test_a_wrong_result_is_refused_and_the_step_waits_on(holdfast_client: Client) -> None:
    TOKENS.clear()
    async with Worker(holdfast_client, [ask_later]):
        run = await holdfast_client.start(ask_later, "?")
        await until(lambda: TOKENS)
        with pytest.raises(InvalidInput, match="The result of step 'later'"):
            await holdfast_client.steps.complete(TOKENS[0], "many")
        await holdfast_client.steps.complete(TOKENS[0], 42)
        assert await run.result() == 42


async def test_a_wrong_result_from_where_the_step_is_unknown_fails_the_run_by_name(
    holdfast_client: Client,
) -> None:
    TOKENS.clear()
    async with Worker(holdfast_client, [ask_later]):
        run = await holdfast_client.start(ask_later, "?")
        await until(lambda: TOKENS)
        with fresh_registry():
            await holdfast_client.steps.complete(TOKENS[0], "many")
        with pytest.raises(RunFailed, match="InvalidInput: The result of step 'later'"):
            await run.result()


@pytest.mark.parametrize(
    "token", ["", "x", "%%%", "äöü", "bm8gdG9rZW4=", "bGF0ZXIA", "bGF0ZXIAeA==", None, 5, b"x"]
)
async def test_what_is_no_token_is_refused(holdfast_client: Client, token: Any) -> None:
    with pytest.raises(InvalidInput):
        await holdfast_client.steps.complete(token, 1)
    with pytest.raises(InvalidInput):
        await holdfast_client.steps.fail(token, "no")


async def test_only_a_deferred_step_may_be_completed_later(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [ask_wrongly]):
        with pytest.raises(RunFailed, match="needs @step\\(deferred=True\\)"):
            await holdfast_client.run(ask_wrongly)
