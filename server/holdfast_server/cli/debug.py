"""`holdfast debug`: pdb inside a recorded run."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast_server.apps import load_app
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import note
from holdfast_server.cli.target import Target


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "debug", imports=True)(debug)


async def debug(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    app: Annotated[str, typer.Argument(metavar="APP", help="A file or module with the run's workflow.")],
    target: Target,
) -> int:
    """Play a recorded run back under pdb: its real values, and nothing is executed.

    It stops where the workflow says `breakpoint()`, else at the workflow's first line. Exit code 1 if today's code does
    something else than the run did.
    """
    from holdfast.testing import debug_run

    served = load_app(app).served
    async with target.connect(start=False) as client:
        replayed = await debug_run(client, run, served)
    note(str(replayed))
    return ExitCode.FAILED if replayed.difference else ExitCode.OK
