"""Options that the code gets while runs are open change nothing under them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from holdfast import Client, Worker, wait_for, workflow
from holdfast.options import changed

from .support import eventually


@workflow
async def waits_for_a_word() -> str:
    return await wait_for("word", str)


@pytest.fixture
def _options_restored() -> Iterator[None]:
    before = waits_for_a_word.options
    yield
    waits_for_a_word.options = before


@pytest.mark.usefixtures("_options_restored")
async def test_a_time_limit_that_the_code_gets_later_does_not_reach_open_runs(
    holdfast_client: Client,
) -> None:
    async with Worker(holdfast_client, [waits_for_a_word]):
        run = await holdfast_client.start(waits_for_a_word)

        async def waits() -> bool:
            return bool((await run.describe()).waits)

        await eventually(waits)
    waits_for_a_word.options = changed(waits_for_a_word.options, {"timeout": timedelta(hours=1)})
    async with Worker(holdfast_client, [waits_for_a_word]):
        await run.send("word", "yes")
        assert await run.result(timeout=timedelta(seconds=20)) == "yes"
