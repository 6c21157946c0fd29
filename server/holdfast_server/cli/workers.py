"""`holdfast workers`: who does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from holdfast.client.workers import WorkerInfo
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, cell, note, print_json, stdout, table, when
from holdfast_server.cli.target import Target


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "workers")(workers)


async def workers(
    target: Target,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="Only workers of this queue; may be repeated.", show_default=False),
    ] = None,
) -> None:
    """The workers of the namespace, of Holdfast or of any other SDK: what they serve, and how busy they are.

    One that was killed on another machine is listed for up to two minutes.
    """
    async with target.connect(start=False) as client:
        with busy("asking who is there"):
            found = await client.workers.list(queues=queue)
    if target.json:
        print_json([worker.to_dict() for worker in found])
    elif found:
        stdout().print(table(["worker", "queue", "state", "steps", "build", "sdk", "seen"], _rows(found)))
    else:
        note("no worker is there: start one with `holdfast worker APP`")


def _rows(found: Sequence[WorkerInfo]) -> list[Sequence[Text | str]]:
    return [
        [
            worker.identity,
            worker.queue,
            cell(worker.status, style="yellow" if worker.status == "stopping" else "green"),
            _steps(worker),
            ":".join(part for part in (worker.deployment, worker.build_id) if part),
            worker.sdk or "",
            when(worker.last_seen),
        ]
        for worker in found
    ]


def _steps(worker: WorkerInfo) -> str:
    if worker.steps_running is None:
        return ""
    return f"{worker.steps_running} of {worker.max_steps}" if worker.max_steps else str(worker.steps_running)
