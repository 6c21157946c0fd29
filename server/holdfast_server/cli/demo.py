"""`holdfast demo`: see work survive the kill of its worker."""

from __future__ import annotations

import contextlib
import sys

import typer

from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import print_json
from holdfast_server.cli.target import Target
from holdfast_server.demo.driver import OUTPUT, run_demo


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "demo")(demo)


async def demo(target: Target) -> int:
    """Run the examples on real data, kill their worker in the middle, and watch them finish.

    What they write goes to demo-output in the current folder. Exit code 1 if anything that the demo claims is not true.
    """
    home = target.home_folder
    if not target.json:
        return await run_demo(home=home)
    with contextlib.redirect_stdout(sys.stderr):
        code = await run_demo(home=home)
    print_json({"home": str(home), "output": str(OUTPUT.resolve()), "shown": code == ExitCode.OK})
    return code
