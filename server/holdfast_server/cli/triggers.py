"""`holdfast triggers`: what starts runs by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, cast

import typer
from rich.text import Text

from holdfast import Client, InvalidInput, Workflow
from holdfast.client.trigger_info import TriggerInfo
from holdfast.triggers import OnEvent, OnWebhook, Policy
from holdfast_server.apps import dags_of, load_app, split
from holdfast_server.cli.command import command
from holdfast_server.cli.confirm import confirm
from holdfast_server.cli.duration import duration
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, cell, note, print_json, say, stdout, table, when
from holdfast_server.cli.record import By, Reason
from holdfast_server.cli.target import Target
from holdfast_server.cli.trigger_options import Chosen, Overlap, moment, with_when
from holdfast_server.cli.values import arguments, read_json
from holdfast_server.documents import is_document, one_spec

app = typer.Typer(help="What starts runs by itself.", no_args_is_help=True, rich_markup_mode=None)

_SHOWN_TIMES = 5

Name = Annotated[str, typer.Argument(metavar="NAME", help="The trigger.", show_default=False)]

Note = Annotated[str | None, typer.Option("--note", "-m", help="Why; shown beside it, and for the record.")]


def _time(name: str, help: str) -> Any:
    return typer.Option(name, help=help, parser=moment, metavar="TIME", show_default=False)


@command(app, "list")
async def list_triggers(
    target: Target,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    after: Annotated[str | None, typer.Option(metavar="NAME", help="Only names after this one.")] = None,
) -> None:
    """Triggers by name, schedules that were not made by Holdfast included."""
    async with target.connect(start=False) as client:
        with busy("reading triggers"):
            found = await client.triggers.list(limit=limit, after=after)
        await _tell_unseen(client, *found)
    if target.json:
        print_json([one.to_dict() for one in found])
    elif not found:
        note("no triggers")
    else:
        rows: list[Sequence[Text | str]] = [
            [
                cell(one.name),
                cell(one.on),
                cell(one.workflow),
                cell(_state(one), style="yellow" if one.paused else ""),
                when(one.next[0]) if one.next else "",
                when(one.last[0].started) if one.last else "",
            ]
            for one in found
        ]
        stdout().print(table(["trigger", "when", "workflow", "state", "next", "last"], rows))
        if len(found) == limit:
            note(f"more: --after {found[-1].name}", style="dim")


@command(app, "show")
async def show(name: Name, target: Target) -> None:
    """A trigger with its next times and last runs."""
    async with target.connect(start=False) as client:
        with busy("reading the trigger"):
            found = await client.triggers.get(name)
        await _tell_unseen(client, found)
    if target.json:
        print_json(found.to_dict())
    else:
        _print(found)


async def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="How it is to be called.", show_default=False)],
    workflow: Annotated[
        str,
        typer.Argument(
            metavar="APP:WORKFLOW|FILE|STORED",
            help="A workflow or Dag of an app, a document, or with --stored the name of a stored workflow.",
            show_default=False,
        ),
    ],
    target: Target,
    chosen: Chosen,
    input: Annotated[
        str | None,
        typer.Option(
            "--input", "-i", metavar="JSON|@FILE|-", help="The input, for --cron, --calendar and --every."
        ),
    ] = None,
    queue: Annotated[str | None, typer.Option(help="The queue of its runs. Default: the workflow's.")] = None,
    timeout: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="DURATION", help="The time limit of its runs."),
    ] = None,
    priority: Annotated[int | None, typer.Option(help="1 (first) to 5 (last).")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Begin paused.")] = False,
    note: Note = None,
    replacing: Annotated[bool, typer.Option("--replace", help="Replace one of this name.")] = False,
    stored: Annotated[
        bool, typer.Option("--stored", help="WORKFLOW is the name of a stored workflow.")
    ] = False,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Make a trigger: one of --cron, --calendar, --every, --event and --webhook says when."""
    on = chosen.on
    if on is None:
        raise InvalidInput("say when: one of --cron, --calendar, --every, --event and --webhook")
    timed = not isinstance(on, OnEvent | OnWebhook)
    if not timed and input is not None:
        raise InvalidInput(
            "--input is for --cron, --calendar and --every; --make makes the input of an event or a message"
        )
    if not timed and chosen.policy:
        raise InvalidInput(
            "--overlap, --catchup-window and --pause-on-failure are for --cron, --calendar and --every"
        )
    subject: Any = workflow if stored else _subject(workflow)
    given: list[Any] = []
    if input is not None:
        value = read_json(input, option="--input")
        is_code = isinstance(subject, Workflow)
        given = arguments(cast("Any", subject), value) if is_code else [value]
    async with target.connect(start=True) as client:
        made = await client.triggers.create(
            name,
            subject,
            *given,
            on=on,
            policy=Policy(**chosen.policy) if timed else None,
            queue=queue,
            timeout=timeout,
            priority=priority,
            paused=paused,
            note=note,
            if_exists="replace" if replacing else "raise",
            by=by,
            reason=reason,
        )
        await _tell_unseen(client, made)
    if target.json:
        print_json(made.to_dict())
    else:
        _print(made)


async def update(
    name: Name,
    target: Target,
    chosen: Chosen,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Change when or how a trigger starts its runs; `create --replace` changes what it starts.

    When is replaced as a whole; of how it does so, what is not given stays.
    """
    async with target.connect(start=False) as client:
        policy: Policy | None = None
        if chosen.policy:
            before = await client.triggers.get(name)
            policy = replace(before.policy or Policy(), **chosen.policy)
        changed = await client.triggers.update(name, on=chosen.on, policy=policy, by=by, reason=reason)
    if target.json:
        print_json(changed.to_dict())
    else:
        _print(changed)


command(app, "create", imports=True)(with_when(create))
command(app, "update")(with_when(update))


@command(app, "pause")
async def pause(name: Name, target: Target, note: Note = None, by: By = None) -> None:
    """Let a trigger start nothing until it is resumed; what comes meanwhile is left out."""
    async with target.connect(start=False) as client:
        await client.triggers.pause(name, note, by=by)
    _done(target, name, "paused")


@command(app, "resume")
async def resume(name: Name, target: Target, note: Note = None, by: By = None) -> None:
    """Let a paused trigger go on, from now."""
    async with target.connect(start=False) as client:
        await client.triggers.resume(name, note, by=by)
    _done(target, name, "resumed")


@command(app, "fire")
async def fire(
    name: Name,
    target: Target,
    payload: Annotated[
        str | None,
        typer.Option(metavar="JSON|@FILE|-", help="For events and webhooks: what stands for the payload."),
    ] = None,
    overlap: Annotated[
        Overlap | None, typer.Option(help="What happens while a run is open. Default: as it is set.")
    ] = None,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Start a run now, also of a trigger that is paused."""
    value = read_json(payload, option="--payload") if payload is not None else None
    async with target.connect(start=False) as client:
        run = await client.triggers.fire(name, value, overlap=overlap, by=by, reason=reason)
    _done(target, name, "fired", run_id=run.id if run else None)


@command(app, "backfill")
async def backfill(
    name: Name,
    target: Target,
    start: Annotated[datetime, _time("--from", "The first time, in UTC unless it names a zone.")],
    end: Annotated[datetime, _time("--to", "The last time.")],
    overlap: Annotated[Overlap, typer.Option(help="buffer_all runs one after the other.")] = "allow_all",
    max_count: Annotated[int, typer.Option(min=1, help="More than so many are refused.")] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Start the runs of times that have passed. It asks first, with their number."""
    async with target.connect(start=False) as client:
        times = await client.triggers.times(name, start, end, limit=max_count + 1)
        many = f"{len(times)} times" if len(times) <= max_count else f"more than {max_count} times"
        if times:
            note(f"{name}: {many}, from {times[0].isoformat()} to {times[-1].isoformat()}")
        if times and len(times) <= max_count and not (yes or dry_run):
            unasked = f"{len(times)} runs would be started; look with --dry-run, then do it with --yes"
            confirm(f"Start {len(times)} runs?", unasked=unasked, as_json=target.json)
        count = 0
        if not dry_run:
            with busy("starting"):
                count = await client.triggers.backfill(
                    name, start, end, overlap=overlap, max_count=max_count, by=by, reason=reason
                )
    if target.json:
        print_json({"trigger": name, "times": len(times), "started": count})
    else:
        say(f"{name}: {many}" if dry_run else f"{name}: {count} started")


@command(app, "delete")
async def delete(name: Name, target: Target, reason: Reason = "", by: By = None) -> None:
    """Delete a trigger; its runs go on."""
    async with target.connect(start=False) as client:
        await client.triggers.delete(name, by=by, reason=reason)
    _done(target, name, "deleted")


@command(app, "sync", imports=True)
async def sync(
    apps: Annotated[
        list[str],
        typer.Argument(metavar="APP...", help="Files, modules, or packages (app.*).", show_default=False),
    ],
    target: Target,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Delete triggers that this code has declared, and declares no more."),
    ] = False,
    by: By = None,
) -> int:
    """Make or change the triggers that workflows declare. Exit code 1 if one was made otherwise, and is left."""
    workflows = {name: one for given in apps for name, one in load_app(given).workflows.items()}
    async with target.connect(start=True) as client:
        with busy("syncing triggers"):
            report = await client.triggers.sync(workflows.values(), prune=prune, by=by)
    if target.json:
        print_json(report.to_dict())
    else:
        for what, names in vars(report).items():
            for name in names:
                say(f"{name}: {what}")
        if report.undeclared:
            note("--prune deletes what is declared no more", style="dim")
    return ExitCode.FAILED if report.refused else ExitCode.OK


async def _tell_unseen(client: Client, *found: TriggerInfo) -> None:
    """Say if nothing looks at the events of triggers."""
    if any(one.kind == "event" and not one.paused for one in found) and not await client.store.has_indexer():
        note("no indexer is at work, so no event starts a run: start `holdfast indexer`", style="yellow")


def _subject(source: str) -> Any:
    """A workflow, a Dag or a document."""
    if is_document(source):
        return one_spec(source)
    file, name = split(source)
    loaded = load_app(file if name else source)
    dags = {label: dag for module in loaded.modules for label, dag in dags_of(module).items()}
    if name in dags:
        return dags[name]
    if name:
        return load_app(source).only()
    if not loaded.workflows and len(dags) == 1:
        return next(iter(dags.values()))
    return loaded.only()


def _state(found: TriggerInfo) -> str:
    text = "paused" if found.paused else "on"
    return f"{text}: {found.note}" if found.note else text


def _print(found: TriggerInfo) -> None:
    facts: dict[str, object] = {
        "trigger": found.name,
        "when": found.on,
        "workflow": found.workflow + (f", version {found.version}" if found.version else ""),
        "queue": found.queue,
        "state": _state(found),
        "declared by": found.owner,
        "overlap": found.policy.overlap if found.policy else None,
        "catch-up": found.policy.catchup_window if found.policy else None,
        "started": found.fired_count,
        "skipped": found.skipped_count or None,
        "missed": found.missed_count or None,
        "running": ", ".join(found.running),
        "next": ", ".join(moment.isoformat() for moment in found.next[:_SHOWN_TIMES]),
    }
    for name, value in facts.items():
        if value not in (None, ""):
            say(f"{name:<12}{value}")
    if found.last:
        rows: list[Sequence[Text | str]] = [
            [cell(run.run_id), when(run.due), when(run.started)] for run in found.last
        ]
        stdout().print(table(["run", "due", "started"], rows))


def _done(target: Target, name: str, what: str, **facts: object) -> None:
    if target.json:
        print_json({"trigger": name, "done": what, **facts})
    else:
        say(f"{name} {what}" + "".join(f": {value}" for value in facts.values() if value))
