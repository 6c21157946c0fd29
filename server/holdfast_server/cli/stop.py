"""`holdfast stop`: end the embedded server of a home."""

from __future__ import annotations

import typer

from holdfast.engine import embedded
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, print_json, say
from holdfast_server.cli.target import Target


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "stop")(stop)


async def stop(target: Target) -> None:
    """Stop the embedded server of the home now, whoever uses it.

    Its data stays; open runs go on when it is started again.
    """
    home = target.home_folder
    target.announce()
    with busy("stopping the server"):
        stopped = await embedded.stop(home)
    if target.json:
        print_json({"home": str(home), "stopped": stopped})
    else:
        say("stopped" if stopped else "no server ran")
