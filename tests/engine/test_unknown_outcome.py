"""A step that did its work and failed after that is undone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from holdfast import Client, NotFound, Permanent, RunFailed, Worker, step, workflow

from .support import replay

LOG: list[str] = []


class Declined(Permanent):
    """A kind of `Permanent`."""


@step
async def acts(how: str) -> str:
    LOG.append("acted")
    match how:
        case "wrong result":
            return cast("Any", object())
        case "error of ours":
            raise NotFound("what a call in the step raised")
        case "declined":
            raise Declined("nothing was done")
        case _:
            return how


@acts.compensate
async def undoes(how: str, result: str | None) -> None:
    LOG.append(f"undone {result}")


@workflow
async def acting(how: str) -> str:
    return await acts(how)


@workflow
async def acting_on_nonsense() -> str:
    return await acts(cast("Any", 7))


@pytest.mark.parametrize(
    ("how", "log"),
    [
        ("wrong result", ["acted", "undone None"]),
        ("error of ours", ["acted", "undone None"]),
        ("declined", ["acted"]),
    ],
)
async def test_only_permanent_says_that_nothing_was_done(
    holdfast_client: Client, how: str, log: list[str]
) -> None:
    LOG.clear()
    async with Worker(holdfast_client, [acting]):
        run = await holdfast_client.start(acting, how)
        with pytest.raises(RunFailed):
            await run.result()
    assert log == LOG
    await replay(run, acting)


async def test_a_step_that_was_not_called_is_not_undone(holdfast_client: Client) -> None:
    LOG.clear()
    async with Worker(holdfast_client, [acting_on_nonsense]):
        with pytest.raises(RunFailed):
            await holdfast_client.run(acting_on_nonsense)
    assert LOG == []
