"""Messages to runs whose worker is late, or that have ended."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from holdfast import Client, InvalidInput, NotFound, RunClosed

from .conftest import Scene, thorough
from .served import waiting


async def test_messages_sent_before_any_worker_runs_are_kept(scene: Scene, client: Client) -> None:
    run = await client.start(waiting, ["first", "second"], message=("first", 1))
    # The server forgets the update of the first try, so the signal after it must not be a second message.
    assert await asyncio.gather(run.send("second", 2), run.send("second", 2)) == ["queued", "queued"]
    host = await scene.host()
    assert await run.result(timeout=timedelta(seconds=20)) == [1, 2]
    with pytest.raises(RunClosed, match="completed"):
        await run.send("second", 3)
    with pytest.raises(NotFound):
        await client.get("never-started").send("first", 1)
    host.terminate()
    assert await host.ended(10) == 0


@thorough
async def test_messages_outlive_the_worker_that_took_them(scene: Scene, client: Client) -> None:
    first = await scene.host()
    run = await client.start(waiting, ["one", "two", "three"])
    assert await run.send("three", 3) == "delivered"
    assert await run.send("one", 1) == "delivered"
    with pytest.raises(InvalidInput, match="'two'"):
        await run.send("two", "no number")
    first.kill()
    assert await run.send("two", 2) == "queued"
    await scene.host()
    assert await run.result(timeout=timedelta(seconds=20)) == [1, 2, 3]
