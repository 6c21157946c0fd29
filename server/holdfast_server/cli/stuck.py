"""`holdfast stuck`: open runs that do not move, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from holdfast.stuck import NEEDS_MENDING, Cause
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, cell, note, print_json, span, stdout, table
from holdfast_server.cli.target import Target


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "stuck")(stuck)


async def stuck(
    target: Target,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    cause: Annotated[Cause | None, typer.Option(help="Only runs that are held up by this.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Look at so many open runs at most.")] = 1000,
) -> int:
    """List open runs that do not move and why, the longest first. Exit code 1 if one cannot go on until somebody mends
    something: no worker, code that no longer fits, or a workflow task that fails again and again."""
    async with target.connect(start=False) as client:
        with busy("looking for runs that do not move") as show:
            found = await client.runs.stuck(workflow=workflow, limit=limit, progress=show)
    found = [run for run in found if cause in (None, run.cause)]
    broken = [run for run in found if run.cause in NEEDS_MENDING]
    now = datetime.now(UTC)
    if target.json:
        print_json([run.to_dict() for run in found])
    elif found:
        rows: list[list[Text | str]] = [
            [
                cell(run.id),
                run.workflow,
                cell(
                    run.cause.replace("_", " "), style="bold red" if run.cause in NEEDS_MENDING else "yellow"
                ),
                span(now - run.since),
                cell(run.why),
            ]
            for run in found
        ]
        stdout().print(table(["run", "workflow", "cause", "for", "why"], rows))
    note(f"{len(found)} open runs do not move, {len(broken)} of them need to be mended", style="dim")
    if len(found) >= limit:
        note(f"only {limit} were looked at; --limit changes that")
    return ExitCode.FAILED if broken else ExitCode.OK
