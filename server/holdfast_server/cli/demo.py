"""`holdfast demo`: see work survive the kill of its worker."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Annotated

import typer
from rich.console import Console

from holdfast import InvalidConfiguration
from holdfast.chaos.profiles import PROFILES, Profile
from holdfast_server.cli.chaos import chosen_profile
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import print_json
from holdfast_server.cli.target import Target
from holdfast_server.demo.driver import OUTPUT, DemoFailed, run_demo

_COUNT = 30


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "demo")(demo)


async def demo(
    target: Target,
    count: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help=f"With --chaos: how many runs, {_COUNT} if it is not said."),
    ] = None,
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Many runs of several shapes, while faults happen to them.")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help=f"With --chaos: {', '.join(PROFILES)} (default moderate), or JSON or @FILE.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --chaos: the same one gives the same faults. Default: drawn.")
    ] = None,
) -> int:
    """Run the examples on real data, kill their worker in the middle, and watch them finish.

    What they write goes to demo-output in the current folder. Exit code 1 if anything that the demo claims is not true.
    """
    if chaos:
        chosen = chosen_profile(profile or "moderate")
        return await _chaos(target, count or _COUNT, chosen, seed)
    if (count, profile, seed) != (None, None, None):
        raise InvalidConfiguration("--count, --profile and --seed go with --chaos")
    home = target.home_folder
    if not target.json:
        return await run_demo(home=home)
    with contextlib.redirect_stdout(sys.stderr):
        code = await run_demo(home=home)
    print_json({"home": str(home), "output": str(OUTPUT.resolve()), "shown": code == ExitCode.OK})
    return code


async def _chaos(target: Target, count: int, profile: Profile, seed: int | None) -> int:
    from holdfast_server.demo.chaos import made_demo  # its steps would be served by whoever imports it
    from holdfast_server.demo.chaos_report import ChaosReport

    if target.cluster:
        raise InvalidConfiguration("the demo uses an embedded server: leave out --address and --namespace")
    if not target.debug:
        logging.getLogger("holdfast").setLevel(logging.ERROR)  # that nobody serves a run now is no news here
    report = ChaosReport(Console(highlight=False, stderr=target.json))
    home = target.home_folder if target.home else None
    async with made_demo(home, count=count, profile=profile, seed=seed) as (client, made):
        report.place(client, made)
        try:
            with report.showing(made.progress):
                shown = await made.run(lambda: report.show(made.progress))
        except DemoFailed as error:
            report.failed(str(error))
            return ExitCode.FAILED
        report.end(client, made.progress, shown)
        if target.json:
            print_json({"home": str(client.home), **shown.to_dict()})
    return ExitCode.OK if shown.proven else ExitCode.FAILED
