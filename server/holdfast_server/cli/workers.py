"""`holdfast workers`: who does the work, and what they serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.text import Text

from holdfast import Client, HoldfastError
from holdfast.catalogue import KINDS, Build, Catalogue, Kind, Offer
from holdfast.client.workers import WorkerInfo
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, cell, note, print_json, say, stdout, table, when
from holdfast_server.cli.target import Target

app = typer.Typer(help="Who does the work, and what they serve.", no_args_is_help=True, rich_markup_mode=None)


@command(app, "list")
async def list_(
    target: Target,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="Only workers of this queue; may be repeated.", show_default=False),
    ] = None,
) -> None:
    """The workers of the namespace, of Holdfast or of any other SDK: how busy they are, and how much they serve.

    One that was killed on another machine is listed for up to two minutes.
    """
    async with target.connect(start=False) as client:
        with busy("asking who is there"):
            found = await client.workers.list(queues=queue)
            builds = await _builds(client)
    if target.json:
        print_json([{**worker.to_dict(), "serves": _served(worker, builds)} for worker in found])
    elif found:
        columns = ["worker", "queue", "state", "steps", "build", "serves", "sdk", "seen"]
        stdout().print(table(columns, [_row(worker, builds) for worker in found]))
    else:
        note("no worker is there: start one with `holdfast worker APP`")


@command(app, "show")
async def show(
    target: Target,
    queue: Annotated[
        str | None, typer.Option(help="Only what is served at this queue.", show_default=False)
    ] = None,
) -> None:
    """What workers serve, as they have published it: workflows, steps and executors, by queue and build. Of a queue
    without workers: what the last one served. With --json also schemas and options."""
    async with target.connect(start=False) as client:
        with busy("reading the catalogue"):
            catalogue = await client.workers.catalogue(queue=queue)
    if target.json:
        print_json(catalogue.to_dict())
    elif catalogue.builds:
        _print(catalogue)
    else:
        note("no worker has published what it serves: start one with `holdfast worker APP`")


def _print(catalogue: Catalogue) -> None:
    rows: list[Sequence[Text | str]] = [
        [
            build.name,
            ", ".join(build.queues),
            cell(", ".join(build.workers) or "gone", style="green" if build.workers else "yellow"),
            when(build.started),
            build.holdfast,
        ]
        for build in catalogue.builds
    ]
    stdout().print(table(["build", "queues", "workers", "started", "holdfast"], rows))
    for kind in KINDS:
        offers: Sequence[Offer] = getattr(catalogue, kind)
        if offers:
            say(f"\n{kind}", style="bold")
            stdout().print(
                table(
                    ["name", "queues", "builds", "what it does"],
                    [
                        [
                            one.name,
                            ", ".join(one.queues),
                            ", ".join(one.builds),
                            one.description.split("\n")[0],
                        ]
                        for one in offers
                    ],
                )
            )
    for one in catalogue.differences:
        builds = ", ".join(one.builds)
        note(f"{one.kind[:-1]} {one.name!r} differs at queue {one.queue!r} between {builds}", style="yellow")


async def _builds(client: Client) -> Sequence[Build]:
    """Empty where there is no history: the list needs none."""
    if not client.store.kept:
        return []
    try:
        return (await client.workers.catalogue()).builds
    except HoldfastError as error:
        note(f"what they serve is not known: {error}", style="dim")
        return []


def _served(worker: WorkerInfo, builds: Sequence[Build]) -> Mapping[Kind, Sequence[str]] | None:
    build = next(
        (one for one in builds if worker.identity in one.workers and worker.queue in one.queues), None
    )
    return None if build is None else build.serves


def _row(worker: WorkerInfo, builds: Sequence[Build]) -> Sequence[Text | str]:
    served = _served(worker, builds) or {}
    counts = [
        f"{len(names)} {kind if len(names) != 1 else kind[:-1]}" for kind, names in served.items() if names
    ]
    return [
        worker.identity,
        worker.queue,
        cell(worker.status, style="yellow" if worker.status == "stopping" else "green"),
        _steps(worker),
        ":".join(part for part in (worker.deployment, worker.build_id) if part),
        ", ".join(counts),
        worker.sdk or "",
        when(worker.last_seen),
    ]


def _steps(worker: WorkerInfo) -> str:
    if worker.steps_running is None:
        return ""
    return f"{worker.steps_running} of {worker.max_steps}" if worker.max_steps else str(worker.steps_running)
