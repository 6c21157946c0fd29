"""`holdfast worker`: serve apps until SIGTERM."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from holdfast.errors import InvalidConfiguration
from holdfast.settings import load
from holdfast_server.apps import load_app
from holdfast_server.cli.chaos import chosen_profile
from holdfast_server.cli.command import command
from holdfast_server.cli.duration import duration
from holdfast_server.cli.live import live_line
from holdfast_server.cli.output import note, print_json
from holdfast_server.cli.target import Target
from holdfast_server.worker_host import (
    WorkerOptions,
    make_worker,
    report_of,
    reporting,
    serve,
    stop_with_parent,
)


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "worker", serves=True, imports=True)(worker)


async def worker(
    apps: Annotated[
        list[str],
        typer.Argument(
            metavar="APP...", help="Files, modules, or packages (app.*); with :NAME only that workflow."
        ),
    ],
    target: Target,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="A queue to poll; may be repeated. Default: those of the workflows."),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Serve /health and /ready on this port of 127.0.0.1; 0 takes a free one."
        ),
    ] = None,
    deployment: Annotated[
        str | None, typer.Option(help="The Temporal Worker Deployment it belongs to.")
    ] = None,
    build_id: Annotated[str | None, typer.Option(help="The version of the code; with --deployment.")] = None,
    drain: Annotated[
        timedelta,
        typer.Option(
            parser=duration, metavar="DURATION", help="How long running steps may finish after SIGTERM."
        ),
    ] = timedelta(seconds=30),
    max_steps: Annotated[int, typer.Option(min=1, help="Steps at a time, per queue.")] = 100,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Serve metrics for Prometheus here, such as 127.0.0.1:9464. Default: HOLDFAST_METRICS, else nowhere.",
            show_default=False,
        ),
    ] = None,
    chaos: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="Let faults happen to steps: gentle, moderate, aggressive, or a profile as JSON or @FILE.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="With --chaos: the same one gives the same faults. Default: one that is drawn."),
    ] = None,
    via: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A proxy in front of the embedded server.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Without the line that tells what it does.")] = False,
    report: Annotated[Path | None, typer.Option(hidden=True)] = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Serve workflows and steps until SIGTERM or Ctrl-C; then running steps finish."""
    if with_parent:
        stop_with_parent()
        logging.getLogger("holdfast.embedded").setLevel(logging.WARNING)  # the parent has said where it is
    if seed is not None and chaos is None:
        raise InvalidConfiguration("--seed goes with --chaos")
    with reporting(report):
        loaded = [load_app(name) for name in apps]
    options = WorkerOptions(
        queues=queue or (),
        health_port=health_port,
        deployment=deployment,
        build_id=build_id,
        drain=drain,
        max_steps=max_steps,
        chaos=chosen_profile(chaos) if chaos is not None else None,
        seed=seed,
    )
    # The workers of `dev` come and go on one machine: a port would be taken whenever two of them overlap.
    served_metrics = metrics or (None if with_parent else load().metrics)
    async with target.connect(start=True, announce=report is None, metrics=served_metrics, via=via) as client:
        with reporting(report):
            made = make_worker(client, loaded, options)

        def ready() -> None:
            if report is not None:
                report_of(loaded).write(report)
            elif target.json:
                workflows = sorted({name for app in loaded for name in app.workflows})
                print_json(
                    {"queues": made.queues, "workflows": workflows, "health_port": made.health_port},
                    indent=None,
                )
            if made.health_port is not None:
                note(f"health http://127.0.0.1:{made.health_port}/health")
            if served_metrics is not None:
                note(f"metrics http://{served_metrics}/metrics")

        await serve(made, ready, shown=live_line(made, quiet=quiet))
