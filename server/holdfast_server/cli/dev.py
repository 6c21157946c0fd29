"""`holdfast dev`: the server, and a worker that follows the code."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Annotated

import typer

from holdfast import Client
from holdfast_server.apps import where_to_look
from holdfast_server.cli.command import command
from holdfast_server.cli.duration import duration
from holdfast_server.cli.output import note, print_json, say
from holdfast_server.cli.run_list import print_summaries
from holdfast_server.cli.target import Target
from holdfast_server.dev import Reloader

_LAST_RUNS = 10


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "dev", serves=True)(dev)


async def dev(
    target: Target,
    apps: Annotated[
        list[str] | None, typer.Argument(metavar="[APP]...", help="What to serve; without, only the server.")
    ] = None,
    queue: Annotated[list[str] | None, typer.Option(help="A queue to poll; may be repeated.")] = None,
    drain: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="DURATION", help="How long a replaced worker may finish."),
    ] = timedelta(seconds=30),
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Without the line that tells what the worker does.")
    ] = False,
) -> None:
    """Run the server and a worker, and replace the worker when the code changes. Ctrl-C ends it.

    A replaced worker finishes its steps first. Code that does not work leaves the old worker in place.
    """
    files = [file for app in apps or () for file in where_to_look(app)]
    async with target.connect(start=True) as client:
        if target.json:
            print_json(
                {"address": client.address, "namespace": client.namespace, "ui_url": client.ui_url},
                indent=None,
            )
        else:
            say(f"Temporal   {client.address}")
            if client.ui_url:
                say(f"Web UI     {client.ui_url}")
        if not apps:
            await _look(client, target)
            return
        arguments = [*apps, *target.arguments, "--drain", f"{drain.total_seconds()}s"]
        arguments += [part for name in queue or () for part in ("--queue", name)]
        arguments += ["--debug"] if target.debug else []
        arguments += ["--quiet"] if quiet else []
        reloader = Reloader(
            arguments,
            files,
            drain_seconds=drain.total_seconds(),
            tell=_tell,
            offer=(lambda _: None) if target.json else _offer,
        )
        await reloader.run()


def _offer(commands: list[str]) -> None:
    for line in commands:
        say(f"run        {line}")
    say("look       holdfast runs list, holdfast runs show RUN")


def _tell(line: str, bad: bool) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[2K")  # the line of the worker, which it writes again
    note(line, style="red" if bad else "dim")


async def _look(client: Client, target: Target) -> None:
    if not target.json:
        found = await client.runs.list(limit=_LAST_RUNS)
        if found:
            say("")
            print_summaries(found)
            say("")
            say("look       holdfast runs show RUN, or the Web UI")
        say("serve      holdfast dev APP, such as examples/hello.py; Ctrl-C ends this")
    await asyncio.Event().wait()
