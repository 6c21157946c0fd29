"""Queries and updates that a workflow declares, and the state that they get."""

from __future__ import annotations

import pytest

from holdfast import (
    Client,
    InvalidInput,
    NotFound,
    Worker,
)

from .mail_flows import mail_counter, opened
from .support import replay


async def test_state_queries_and_updates(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_counter]):
        run = await holdfast_client.start(mail_counter, 1)
        await opened(run)
        assert await run.state() == {"count": 1}
        assert await run.query("doubled") == 2
        assert await run.query("doubled", 5, result=int) == 7
        assert await run.update("add", 4, result=int) == 5
        assert await run.update("add_slowly") == 6
        assert await run.state(dict[str, int]) == {"count": 6}
        await run.send("stop")
        assert await run.result() == 6
        await replay(run, mail_counter)


async def test_what_queries_and_updates_refuse(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [mail_counter]):
        run = await holdfast_client.start(mail_counter, 1)
        await opened(run)
        with pytest.raises(InvalidInput, match="ten at most"):
            await run.update("add", 11)
        with pytest.raises(InvalidInput, match="misses the argument 'by'"):
            await run.update("add")
        with pytest.raises(InvalidInput, match="takes 1 arguments, got 2"):
            await run.update("add", 1, 2)
        with pytest.raises(InvalidInput, match="Argument 'by'"):
            await run.update("add", "many")
        with pytest.raises(InvalidInput, match="boom"):
            await run.update("explode")
        with pytest.raises(NotFound, match=r"no update 'ad'; it has: add, add_slowly, explode"):
            await run.update("ad", 1)
        with pytest.raises(NotFound, match=r"no query 'tripled'; it has: broken, doubled"):
            await run.query("tripled")
        with pytest.raises(InvalidInput, match="no answer"):
            await run.query("broken")
        with pytest.raises(InvalidInput, match="Argument 'plus'"):
            await run.query("doubled", "x")
        assert await run.state() == {"count": 1}
        await run.send("stop")
        assert await run.result() == 1
