"""All commands, and the edge of the process."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Annotated

import typer

from holdfast_server.cli import (
    analytics,
    approvals,
    audit,
    breakers,
    chaos,
    codec,
    db,
    dead_letters,
    debug,
    demo,
    dev,
    doctor,
    events,
    executors,
    fake_llm,
    gc,
    indexer,
    replay_check,
    run_cost,
    run_export,
    runs,
    step_logs,
    stop,
    stuck,
    triggers,
    worker,
    workers,
    workflows,
)
from holdfast_server.cli import (
    run as run_command,
)
from holdfast_server.cli.exits import ExitCode

app = typer.Typer(
    name="holdfast",
    help="Python functions that finish: durable workflows on Temporal, with the server included.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 the run or a check failed, 2 wrong use or input, 3 not found, 4 unavailable, "
    "5 not allowed, 70 an error inside Holdfast, 130 Ctrl-C.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(
            ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("holdfast", "temporalio"))
        )
        raise typer.Exit


@app.callback()
def shared(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the versions.")
    ] = False,
) -> None:
    """What goes before any command; `--version` has printed and ended by then."""


for module in (
    demo,
    dev,
    run_command,
    worker,
    indexer,
    stuck,
    audit,
    debug,
    replay_check,
    doctor,
    gc,
    codec,
    fake_llm,
    stop,
):
    module.add(app)
step_logs.add(runs.app)
run_cost.add(runs.app)
run_export.add(runs.app)
app.add_typer(runs.app, name="runs")
app.add_typer(analytics.app, name="analytics")
app.add_typer(approvals.app, name="approvals")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(workflows.app, name="workflows")
app.add_typer(triggers.app, name="triggers")
app.add_typer(workers.app, name="workers")
app.add_typer(executors.app, name="executors")
app.add_typer(db.app, name="db")
app.add_typer(events.app, name="events")
app.add_typer(breakers.app, name="breakers")
app.add_typer(chaos.app, name="chaos")


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        Its exit code.
    """
    try:
        app(args=list(arguments), prog_name="holdfast")
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else ExitCode.OK
    return ExitCode.OK
