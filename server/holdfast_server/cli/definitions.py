"""`holdfast workflows`: stored workflows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from holdfast import NotFound
from holdfast.client.actions import whoever
from holdfast.spec.document import dump_yaml
from holdfast_server.cli.command import command
from holdfast_server.cli.duration import duration
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import note, print_json, say, stdout, table, when
from holdfast_server.cli.record import By, Reason
from holdfast_server.cli.run import see_through, subject_of_dag, tell
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import read_json
from holdfast_server.documents import one_spec

if TYPE_CHECKING:
    from holdfast.catalogue import Offer
    from holdfast.store.definitions import WorkflowVersion

_ALL = 100_000
_COLUMNS = ["workflow", "version", "stored", "by", "note"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="A stored workflow.", show_default=False)]
Version = Annotated[
    int | None, typer.Option("--version", metavar="N", help="Default: the latest.", show_default=False)
]
IfVersion = Annotated[
    int | None,
    typer.Option(metavar="N", help="Only if this is still the latest version.", show_default=False),
]


def add(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "list")(list_)
    command(app, "push", imports=True)(push)
    for body in (show, versions, diff, delete, restore, run):
        command(app, body.__name__)(body)


async def list_(
    target: Target,
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that are deleted, instead.")] = False,
) -> None:
    """The stored workflows, and those in code that workers serve, by name."""
    async with target.connect(start=False) as client:
        found = await client.workflows.list(limit=_ALL, deleted=deleted)
        code: Sequence[Offer] = [] if deleted else (await client.workers.catalogue()).workflows
    if target.json:
        stored = [{"kind": "stored", **one.to_dict()} for one in found]
        print_json([*stored, *({"kind": "code", **_in_code(one)} for one in code)])
    elif found or code:
        rows = [_row(one) for one in found]
        rows += [[one.name, "code", "", "", _about(one)] for one in code]
        stdout().print(table(_COLUMNS, [*sorted(rows)]))
    else:
        note("no workflow is stored or served: holdfast workflows push FILE, or holdfast worker APP")


async def push(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|APP[:NAME]",
            help="A DAG document (JSON or YAML), or a file or module with a Dag.",
            show_default=False,
        ),
    ],
    target: Target,
    if_version: IfVersion = None,
    message: Annotated[str | None, typer.Option("--note", "-m", help="What is new in it.")] = None,
    by: By = None,
) -> None:
    """Store a workflow, or its next version. What means the same as the latest version makes none."""
    spec = one_spec(source)
    async with target.connect(start=True) as client:
        made = await client.workflows.push(spec, if_version=if_version, by=whoever(by), note=message)
        served = await client.workers.catalogue()
    warnings = [one for one in client.workflows.validate(spec, served=served) if one.code == "HF-D034"]
    if target.json:
        findings = [one.as_dict() for one in warnings]
        print_json({**made.to_dict(), "is_new": made.is_new, "findings": findings})
    else:
        say(f"{made.name}: version {made.version}{'' if made.is_new else ', unchanged'}")
        for one in warnings:
            note(f"warning {one}", style="yellow")


async def show(name: Name, target: Target, version: Version = None) -> None:
    """The document of a stored workflow, as YAML."""
    async with target.connect(start=False) as client:
        found = await client.workflows.get(name, version)
    if target.json:
        print_json(found.to_dict())
        return
    about = found.version
    state = f"version {about.version} of {about.latest}, {when(about.created)}"
    note(" ".join(part for part in (state, about.created_by, about.note) if part), style="dim")
    say(dump_yaml(found.spec).rstrip("\n"))


async def versions(name: Name, target: Target) -> None:
    """The versions of a stored workflow, the latest first."""
    async with target.connect(start=False) as client:
        found = await client.workflows.versions(name, limit=_ALL)
    _print(found, target, none="")


async def diff(
    name: Name,
    target: Target,
    old: Annotated[
        int | None, typer.Option("--from", metavar="N", help="Default: the one before.", show_default=False)
    ] = None,
    new: Annotated[
        int | None, typer.Option("--to", metavar="N", help="Default: the latest.", show_default=False)
    ] = None,
) -> int:
    """What differs between two versions. Exit code 1 if anything does."""
    async with target.connect(start=False) as client:
        after = await client.workflows.get(name, new)
        last = old if old is not None else after.version.version - 1
        if last == 0:
            raise NotFound(f"workflow {name!r} has no version before the first one")
        before = await client.workflows.get(name, last)
    lines = difflib.unified_diff(
        dump_yaml(before.spec).splitlines(),
        dump_yaml(after.spec).splitlines(),
        f"{name} version {before.version.version}",
        f"{name} version {after.version.version}",
        lineterm="",
    )
    text = "\n".join(lines)
    if target.json:
        print_json({"from": before.to_dict(), "to": after.to_dict(), "diff": text})
    elif text:
        say(text)
    return ExitCode.FAILED if text else ExitCode.OK


async def delete(
    name: Name, target: Target, if_version: IfVersion = None, reason: Reason = "", by: By = None
) -> None:
    """Delete a stored workflow; its runs go on."""
    async with target.connect(start=False) as client:
        await client.workflows.delete(name, if_version=if_version, by=by, reason=reason)
    if target.json:
        print_json({"name": name, "deleted": True})
    else:
        say(f"{name} is deleted")
        note(f"bring it back: holdfast workflows restore {name}")


async def restore(name: Name, target: Target, reason: Reason = "", by: By = None) -> None:
    """Bring back a stored workflow that was deleted."""
    async with target.connect(start=False) as client:
        found = await client.workflows.restore(name, by=by, reason=reason)
    if target.json:
        print_json(found.to_dict())
    else:
        say(f"{name}: version {found.version}")


async def run(
    name: Name,
    target: Target,
    input: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="The input of the run.")
    ] = None,
    version: Version = None,
    id: Annotated[
        str | None, typer.Option(help="The run's id. Default: the workflow's name and a random part.")
    ] = None,
    if_exists: Annotated[
        Literal["raise", "return", "restart"], typer.Option(help="What to do when the id is known.")
    ] = "raise",
    queue: Annotated[str | None, typer.Option(help="The queue whose workers run it.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the end and print the result.")
    ] = True,
    timeout: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="DURATION", help="The run's time limit.")
    ] = None,
) -> int:
    """Start a run of a stored workflow, wait for it, and print its result as JSON. Workers must serve its steps."""
    given = read_json(input, option="--input") if input is not None else None
    async with target.connect(start=True) as client:
        spec = (await client.workflows.get(name, version)).spec
        started = await client.workflows.start(
            name, given, version=version, id=id, if_exists=if_exists, queue=queue, timeout=timeout
        )
        if wait:
            return await see_through(started, subject_of_dag(spec, None, given), target, serves=False)
        tell(started, target)
    return ExitCode.OK


def _row(one: WorkflowVersion) -> list[str]:
    return [one.name, str(one.version), when(one.created), one.created_by or "", one.note or ""]


def _in_code(one: Offer) -> dict[str, Any]:
    """Without its schemas, which `workers show` has."""
    told = one.to_dict()
    return {name: told[name] for name in ("name", "description", "queues", "builds", "live")}


def _about(one: Offer) -> str:
    return one.description if one.live else f"{one.description} (no worker is there)".lstrip()


def _print(found: list[WorkflowVersion], target: Target, *, none: str) -> None:
    if target.json:
        print_json([one.to_dict() for one in found])
    elif found:
        stdout().print(table(_COLUMNS, [_row(one) for one in found]))
    else:
        note(none)
