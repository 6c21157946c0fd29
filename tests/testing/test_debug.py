"""A debugger inside a recorded run."""

from __future__ import annotations

import io
import sys

import pytest

from holdfast import Client, NotFound, Worker, step, workflow
from holdfast.testing import debug_run

EFFECTS: list[str] = []


@step(name="debugged.double")
async def double(x: int) -> int:
    EFFECTS.append(f"double {x}")
    return 2 * x


@workflow(name="debugged.flow", sandboxed=False)
async def flow(x: int) -> int:
    """The docstring is no line to stop at."""
    once = await double(x)
    twice = await double(once)
    return twice  # noqa: RET504 - a line to look at the value


@workflow(name="debugged.stops", sandboxed=False)
async def stops(x: int) -> int:
    y = await double(x)
    breakpoint()
    return y


async def session(client: Client, run_id: str, *commands: str) -> str:
    out = io.StringIO()
    replayed = await debug_run(
        client,
        run_id,
        [flow, stops],
        stdin=io.StringIO("".join(f"{command}\n" for command in commands)),
        stdout=out,
    )
    assert replayed.difference is None
    return out.getvalue()


async def test_it_stops_at_the_first_line_and_steps_over_awaits_with_real_values(
    holdfast_client: Client,
) -> None:
    async with Worker(holdfast_client, [flow]):
        assert await holdfast_client.run(flow, 7, id="one") == 28
    EFFECTS.clear()
    hook, trace = sys.breakpointhook, sys.gettrace()
    said = await session(
        holdfast_client, "one", "p x * 1000", "n", "p once * 1000", "n", "p twice * 1000", "c"
    )
    for value in ("7000", "14000", "28000", "once = await double(x)"):
        assert value in said
    assert EFFECTS == []
    assert (sys.breakpointhook, sys.gettrace()) == (hook, trace)


async def test_quitting_goes_on_to_the_end(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [flow]):
        await holdfast_client.run(flow, 7, id="one")
    assert "once = await" in await session(holdfast_client, "one", "q")


async def test_it_stops_where_the_workflow_says_so(
    holdfast_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "breakpointhook", lambda: None)
    async with Worker(holdfast_client, [stops]):
        await holdfast_client.run(stops, 7, id="one")
    said = await session(holdfast_client, "one", "p y * 1000", "c")
    assert "14000" in said
    assert "return y" in said


async def test_it_needs_the_code(holdfast_client: Client) -> None:
    await holdfast_client.start(flow, 7, id="one")
    with pytest.raises(NotFound, match=r"debugged\.flow"):
        await debug_run(holdfast_client, "one", [stops])
    with pytest.raises(NotFound):
        await debug_run(holdfast_client, "two", [stops])
