"""`holdfast runs`: look at runs, and act on them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from holdfast.spec.check_graph import closest
from holdfast.states import RunState
from holdfast_server.cli import again, bulk, run_list
from holdfast_server.cli import show as render
from holdfast_server.cli import watch as watching
from holdfast_server.cli.command import command
from holdfast_server.cli.described import described_anywhere
from holdfast_server.cli.diagrams import Format, Output, print_diagram
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, note, print_json, say, stdout
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import read_json

app = typer.Typer(help="Look at runs, and act on them.", no_args_is_help=True, rich_markup_mode=None)
run_list.add(app)
bulk.add(app)
again.add(app)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]
_PATIENCE = timedelta(seconds=30)
"""For an update: it needs a worker."""

By = Annotated[str, typer.Option(help="Who does it, for the record. Default: you, as user@host.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]


@command(app, "show")
async def show(run: RunId, target: Target) -> None:
    """Show a run: its state, why it waits or is stuck, its steps and open waits."""
    async with target.connect(start=False) as client:
        with busy("reading the run"):
            described, is_stored = await described_anywhere(client, run)
        ui_url = None if is_stored else client.ui_url
        if is_stored:
            note("Temporal has deleted this run: what follows is from the history", style="yellow")
        if target.json:
            link = render.link(described, ui_url) if ui_url else None
            print_json({**described.to_dict(), "ui_url": link, "from_history": is_stored})
        else:
            stdout().print(render.description(described, ui_url))


@command(app, "diagram")
async def diagram(run: RunId, target: Target, format: Format = "text", output: Output = None) -> None:
    """Draw what a run did: a DAG as its document with states, any other run from its history."""
    from holdfast.client.diagram import run_graph

    async with target.connect(start=False) as client:
        with busy("reading the run"):
            graph = await run_graph(client.temporal, run)
    print_diagram(graph, format, output, target)


@command(app, "watch")
async def watch(run: RunId, target: Target) -> int:
    """Follow a run until it ends. Exit code 0 if it completed, else 1. With --json one line per change."""
    async with target.connect(start=False) as client:
        follow = (
            watching.as_json if target.json else watching.live if stdout().is_terminal else watching.as_lines
        )
        state = await follow(client, client.get(run))
    return ExitCode.OK if state is RunState.COMPLETED else ExitCode.FAILED


@command(app, "cancel")
async def cancel(run: RunId, target: Target, reason: Reason = "", by: By = "") -> None:
    """Ask a run to stop: its steps are cancelled, then its compensations run."""
    async with target.connect(start=False) as client:
        await client.get(run).cancel(reason, by=by)
    _done(run, "cancel requested", target)


@command(app, "terminate")
async def terminate(run: RunId, target: Target, reason: Reason = "", by: By = "") -> None:
    """End a run at once. None of its code runs after that, compensation included."""
    async with target.connect(start=False) as client:
        await client.get(run).terminate(reason, by=by)
    _done(run, "terminated", target)


@command(app, "pause")
async def pause(run: RunId, target: Target, reason: Reason = "", by: By = "") -> None:
    """Hold new steps of a run; running ones finish."""
    async with target.connect(start=False) as client:
        await client.get(run).pause(reason, by=by)
    _done(run, "pause requested", target)


@command(app, "resume")
async def resume(run: RunId, target: Target, reason: Reason = "", by: By = "") -> None:
    """Let the steps of a paused run go on."""
    async with target.connect(start=False) as client:
        await client.get(run).resume(reason, by=by)
    _done(run, "resume requested", target)


@command(app, "send")
async def send(
    run: RunId,
    name: Annotated[str, typer.Argument(help="The name that the run waits for.", show_default=False)],
    target: Target,
    value: Annotated[
        str, typer.Argument(metavar="[JSON|@FILE|-]", help="The message.", show_default=False)
    ] = "null",
) -> None:
    """Send a message to a run that does, or will, wait for it."""
    message = read_json(value, option="the message")
    async with target.connect(start=False) as client:
        with busy("sending"):
            described = await client.get(run).describe()
            sent = await client.get(run).send(name, message)
    _done(run, sent, target)
    known = described.listens_to
    if known is not None and name not in known:
        near, there = closest(name, known), ", ".join(known) or "none"
        note(f"no node of its DAG waits for {name!r}. {near}Known are: {there}", style="yellow")


@command(app, "update")
async def update(
    run: RunId,
    name: Annotated[str, typer.Argument(help="The update's name.", show_default=False)],
    target: Target,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JSON|@FILE|-]...", help="Its arguments.", show_default=False),
    ] = None,
    reason: Reason = "",
    by: By = "",
) -> None:
    """Call an update of a run and print its answer: of a DAG skip_node or retry_node with the node's id."""
    arguments = [read_json(value, option="the argument") for value in values or []]
    async with target.connect(start=False) as client:
        with busy("waiting for the run"):
            answer = await client.get(run).update(name, *arguments, timeout=_PATIENCE, by=by, reason=reason)
    if answer is None:
        _done(run, f"{name} done", target)
    else:
        print_json(answer)


@command(app, "state")
async def state(run: RunId, target: Target) -> None:
    """Print what a run shows of itself as JSON: of a DAG every node. It needs a worker."""
    async with target.connect(start=False) as client:
        with busy("asking the run"):
            print_json(await client.get(run).state())


def _done(run: str, what: str, target: Target) -> None:
    if target.json:
        print_json({"id": run, "done": what})
    else:
        say(f"{run}: {what}")
