"""Following a run: live on a terminal, as lines or as JSON elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from rich.live import Live

from holdfast import Client, Run
from holdfast.client.description import RunDescription
from holdfast.states import RunState
from holdfast_server.cli import show
from holdfast_server.cli.output import print_json, say, span, stdout

_SECONDS = 0.5


async def _changes(run: Run[Any]) -> AsyncIterator[RunDescription]:
    """The run as it is now and then, until it is closed."""
    while True:
        described = await run.describe()
        yield described
        if described.state.closed:
            return
        await asyncio.sleep(_SECONDS)


async def live(client: Client, run: Run[Any]) -> RunState:
    """Draw the run again and again in place, as far as it fits; in the end, print all of it."""
    final: RunDescription | None = None
    with Live(console=stdout(), auto_refresh=False, transient=True) as screen:
        async for final in _changes(run):
            screen.update(show.description(final, client.ui_url), refresh=True)
    assert final is not None  # a run is described at least once
    stdout().print(show.description(final, client.ui_url))
    return final.state


async def as_lines(client: Client, run: Run[Any]) -> RunState:
    """Print a line for whatever changes."""
    del client
    state, said = RunState.PENDING, dict[str, str]()
    async for described in _changes(run):
        state = described.state
        lines = {
            f"{step.name} #{step.ordinal}": f"{step.state.value}, attempt {step.attempt}"
            + (f" ({step.error or step.last_failure})" if step.error or step.last_failure else "")
            for step in described.steps
        }
        reason = described.stuck or described.error or described.waiting_for or ""
        lines[described.id] = f"{state.value}{f': {reason}' if reason else ''}"
        for key, text in lines.items():
            if said.get(key) != text:
                said[key] = text
                say(
                    f"{key}: {text}"
                    + (f" after {span(described.duration)}" if key == described.id and state.closed else "")
                )
    return state


async def as_json(client: Client, run: Run[Any]) -> RunState:
    """Print the run as one line of JSON for each change."""
    del client
    state, said = RunState.PENDING, ""
    async for described in _changes(run):
        state = described.state
        steps = [(step.state, step.attempt) for step in described.steps]
        key = f"{described.history_event_count} {state} {described.stuck} {steps}"
        if key != said:
            said = key
            print_json(described.to_dict(), indent=None)
    return state
