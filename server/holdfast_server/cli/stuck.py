"""`holdfast stuck`: open runs that cannot go on, and why."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from holdfast import Client, NotFound
from holdfast.client.description import RunDescription
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, cell, note, print_json, span, stdout, table
from holdfast_server.cli.target import Target

_AT_A_TIME = 10


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "stuck")(stuck)


async def stuck(
    target: Target,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Look at the latest so many open runs.")
    ] = 1000,
) -> int:
    """List open runs that cannot go on until somebody mends something. Exit code 1 if there are any."""
    async with target.connect(start=False) as client:
        found, looked_count = await _search(client, workflow, limit)
    if target.json:
        print_json([{"id": run.id, "workflow": run.workflow, "stuck": run.stuck} for run in found])
    elif found:
        rows: list[list[Text | str]] = [
            [cell(run.id), run.workflow, span(run.duration), cell(run.stuck, style="red")] for run in found
        ]
        stdout().print(table(["run", "workflow", "open for", "why"], rows))
    note(f"{len(found)} of {looked_count} open runs are stuck", style="dim")
    if looked_count == limit:
        note(f"only the latest {limit} were looked at; --limit changes that")
    return ExitCode.FAILED if found else ExitCode.OK


async def _search(client: Client, workflow: str | None, limit: int) -> tuple[list[RunDescription], int]:
    with busy("reading open runs") as show:
        summaries = await client.runs.list(state="running", workflow=workflow, limit=limit)
        turn, done_count = asyncio.Semaphore(_AT_A_TIME), 0

        async def look(run_id: str) -> RunDescription | None:
            nonlocal done_count
            async with turn:
                try:
                    return await client.get(run_id).describe()
                except NotFound:  # deleted since it was listed
                    return None
                finally:
                    done_count += 1
                    show(f"looked at {done_count} of {len(summaries)} open runs")

        described = await asyncio.gather(*(look(summary.id) for summary in summaries))
    return [run for run in described if run is not None and run.stuck], len(summaries)
