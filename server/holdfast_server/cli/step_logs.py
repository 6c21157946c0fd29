"""`holdfast runs logs`: what the steps of a run have logged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from holdfast.client.logs import LogLine, logs_of
from holdfast_server.cli.command import command
from holdfast_server.cli.described import described_anywhere
from holdfast_server.cli.output import note, print_json, say, when
from holdfast_server.cli.target import Target

_SECONDS: Final = 0.5
_LATE_SECONDS: Final = 1.5

_STYLES: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "logs")(logs)


async def logs(
    run: Annotated[str, typer.Argument(help="The run.")],
    target: Target,
    step: Annotated[str | None, typer.Option(help="Only this step.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
) -> None:
    """Show what the steps of a run have logged, also when their worker is gone."""
    async with target.connect(start=False, announce=not target.json) as client:
        cursor = shown = 0
        last = not follow
        while True:
            found, cursor = await logs_of(client, run, step=step, after=cursor)
            _print(found, target)
            shown += len(found)
            if last:
                break
            last = (await client.get(run).status()).closed
            # A worker writes lines down up to a second after it has logged them.
            await asyncio.sleep(_LATE_SECONDS if last else _SECONDS)
        if not shown:
            # A run that nobody knows is an error, not one without lines.
            await described_anywhere(client, run)
    if not shown and not target.json:
        note("no step of this run has logged anything that was kept", style="dim")


def _print(lines: Sequence[LogLine], target: Target) -> None:
    for line in lines:
        if target.json:
            print_json(line.to_dict(), indent=None)
            continue
        if line.cut_count:
            say(f"... {line.cut_count} earlier messages of this attempt were not kept", style="dim")
        again = f" #{line.attempt}" if line.attempt > 1 else ""
        text = f"{when(line.at)} {line.level:<7} {line.step}{again}: {line.message}"
        say(text, style=_STYLES.get(line.level, ""))
