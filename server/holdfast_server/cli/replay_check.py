"""`holdfast replay-check`: which recorded runs would today's code break?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast import InvalidInput
from holdfast.testing import Replayed, ReplayedRuns, replay_files, replay_runs
from holdfast.testing.replay_runs import Only
from holdfast_server.apps import load_app
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, note, print_json, say
from holdfast_server.cli.target import Target

_LAST = 100


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "replay-check", imports=True)(replay_check)


async def replay_check(
    app: Annotated[str, typer.Argument(metavar="APP", help="A file or module: the code to check.")],
    target: Target,
    last: Annotated[
        int | None, typer.Option(min=1, help="The latest so many runs. Default: 100; of a folder all.")
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow or DAG.")] = None,
    only: Annotated[Only | None, typer.Option(help="Only open or only closed runs. Default: both.")] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FOLDER", help="A folder, file or pattern of histories, not the server."
        ),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="End with 0 also where there is no run to check.")
    ] = False,
) -> int:
    """Replay recorded runs with the code as it is now. Nothing is executed, and no run notices.

    Says of each run that would not go on: the first step that differs, the lines, and the `patched()` line to add. Exit
    code 1 if there is one, and if there was no run to check. Runs of workflows that the app does not have are skipped
    and counted.
    """
    if from_ is not None and only is not None:
        raise InvalidInput(
            "--only chooses among the runs of a server; with --from, give the files that count"
        )
    served = load_app(app).served
    with busy("reading runs") as show:

        def progress(found: ReplayedRuns) -> None:
            show(f"{len(found.replayed)} runs replayed, {len(found.differing)} would break")

        if from_ is not None:
            found = await replay_files(from_, served, last=last, workflow=workflow, on_progress=progress)
        else:
            async with target.connect(start=False) as client:
                found = await replay_runs(
                    client, served, last=last or _LAST, workflow=workflow, only=only, on_progress=progress
                )
    if target.json:
        print_json(found.to_dict())
    else:
        _print(found)
    if not found.replayed and not allow_empty:
        note("nothing was checked, as no run fits; if that is as it should be: --allow-empty", style="red")
        return ExitCode.FAILED
    return ExitCode.FAILED if found.differing else ExitCode.OK


def _print(found: ReplayedRuns) -> None:
    groups: dict[str, list[Replayed]] = {}
    for one in found.differing:
        groups.setdefault(f"{one.workflow}\0{one.step}\0{one.parting or one.difference}", []).append(one)
    for alike in groups.values():
        first = alike[0]
        at = f" at step {first.step}" if first.step else ""
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        say(f"{first.run_id}{more} ({first.workflow}) would break{at}", style="red")
        for line in str(first.parting or first.difference).splitlines():
            say(f"  {line}")
    if found.skipped:
        named = ", ".join(f"{name} ({count})" for name, count in found.skipped.most_common(5))
        note(f"{found.skipped.total()} runs of other workflows skipped: {named}", style="dim")
    if found.gone_count:
        note(f"{found.gone_count} runs were deleted meanwhile", style="dim")
    note(f"{len(found.differing)} of {len(found.replayed)} runs would break", style="dim")
