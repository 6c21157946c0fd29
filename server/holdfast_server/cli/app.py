"""All commands, and the edge of the process."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from holdfast_server.cli import (
    approvals,
    codec,
    debug,
    demo,
    dev,
    doctor,
    gc,
    runs,
    stop,
    stuck,
    worker,
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
for module in (demo, dev, run_command, worker, stuck, debug, doctor, gc, codec, stop):
    module.add(app)
app.add_typer(runs.app, name="runs")
app.add_typer(approvals.app, name="approvals")


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
