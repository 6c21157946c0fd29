"""`holdfast triggers`: what starts runs by itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast

import typer
from rich.text import Text

from holdfast import InvalidInput, Workflow
from holdfast.client.trigger_info import TriggerInfo
from holdfast.triggers import Cron, Interval, OnEvent, OnWebhook, Policy
from holdfast.triggers.declared import CATCH_UP, On
from holdfast_server.apps import dags_of, load_app, split
from holdfast_server.cli.command import command
from holdfast_server.cli.duration import duration
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, cell, note, print_json, say, stdout, table, when
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import arguments, read_json
from holdfast_server.documents import is_document, one_spec

app = typer.Typer(help="What starts runs by itself.", no_args_is_help=True, rich_markup_mode=None)

_SHOWN_TIMES = 5

Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The trigger.", show_default=False)]
Note = Annotated[str | None, typer.Option("--note", "-m", help="Why; shown beside it.")]


@command(app, "list")
async def list_triggers(target: Target) -> None:
    """All triggers by name, schedules that were not made by Holdfast included."""
    async with target.connect(start=False) as client:
        with busy("reading triggers"):
            found = await client.triggers.list()
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


@command(app, "show")
async def show(name: Name, target: Target) -> None:
    """A trigger with its next times and last runs."""
    async with target.connect(start=False) as client:
        with busy("reading the trigger"):
            found = await client.triggers.get(name)
    if target.json:
        print_json(found.to_dict())
    else:
        _print(found)


@command(app, "create", imports=True)
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
    cron: Annotated[str | None, typer.Option(help="A cron expression, such as '0 9 * * 1-5'.")] = None,
    timezone: Annotated[str, typer.Option(help="The time zone of --cron.")] = "UTC",
    every: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="DURATION", help="The time between two runs.")
    ] = None,
    offset: Annotated[
        timedelta, typer.Option(parser=duration, metavar="DURATION", help="How much later than --every.")
    ] = timedelta(0),
    event: Annotated[
        str | None, typer.Option(help="An event of runs, such as workflow.failed, or a channel.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="SECRET", help="The name of the secret that signs messages.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="CEL", help="A condition, for events and webhooks.")
    ] = None,
    make: Annotated[
        str | None,
        typer.Option(metavar="CEL", help="What makes the input of events and webhooks. Default: payload."),
    ] = None,
    input: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="The input, for --cron and --every."),
    ] = None,
    overlap: Annotated[Overlap, typer.Option(help="What happens while the run before is open.")] = "skip",
    catchup_window: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="DURATION", help="How late a run may start after an outage."),
    ] = CATCH_UP,
    pause_on_failure: Annotated[
        bool, typer.Option("--pause-on-failure", help="Pause it when a run fails.")
    ] = False,
    jitter: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="DURATION", help="Start up to so much later.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="The queue of its runs. Default: the workflow's.")] = None,
    timeout: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="DURATION", help="The time limit of its runs."),
    ] = None,
    priority: Annotated[int | None, typer.Option(help="1 (first) to 5 (last).")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Begin paused.")] = False,
    note: Note = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of this name.")] = False,
    stored: Annotated[
        bool, typer.Option("--stored", help="WORKFLOW is the name of a stored workflow.")
    ] = False,
) -> None:
    """Make a trigger: one of --cron, --every, --event and --webhook says when."""
    on = _on(cron, timezone, every, offset, jitter, event, webhook, where, make)
    timed = isinstance(on, Cron | Interval)
    if not timed and input is not None:
        raise InvalidInput(
            "--input is for --cron and --every; --make makes the input of an event or a message"
        )
    policy = Policy(overlap=overlap, catchup_window=catchup_window, pause_on_failure=pause_on_failure)
    if not timed and policy != Policy():
        raise InvalidInput("--overlap, --catchup-window and --pause-on-failure are for --cron and --every")
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
            policy=policy if timed else None,
            queue=queue,
            timeout=timeout,
            priority=priority,
            paused=paused,
            note=note,
            if_exists="replace" if replace else "raise",
        )
    if target.json:
        print_json(made.to_dict())
    else:
        _print(made)


@command(app, "pause")
async def pause(name: Name, target: Target, note: Note = None) -> None:
    """Let a trigger start nothing until it is resumed; what comes meanwhile is left out."""
    async with target.connect(start=False) as client:
        await client.triggers.pause(name, note)
    _done(target, name, "paused")


@command(app, "resume")
async def resume(name: Name, target: Target, note: Note = None) -> None:
    """Let a paused trigger go on, from now."""
    async with target.connect(start=False) as client:
        await client.triggers.resume(name, note)
    _done(target, name, "resumed")


@command(app, "fire")
async def fire(
    name: Name,
    target: Target,
    payload: Annotated[
        str | None,
        typer.Option(metavar="JSON|@FILE|-", help="For events and webhooks: what stands for the payload."),
    ] = None,
) -> None:
    """Start a run now, also of a trigger that is paused."""
    value = read_json(payload, option="--payload") if payload is not None else None
    async with target.connect(start=False) as client:
        run = await client.triggers.fire(name, value)
    _done(target, name, "fired", run_id=run.id if run else None)


@command(app, "backfill")
async def backfill(
    name: Name,
    target: Target,
    start: Annotated[datetime, typer.Option("--from", help="The first time, in UTC.", show_default=False)],
    end: Annotated[datetime, typer.Option("--to", help="The last time, in UTC.", show_default=False)],
    overlap: Annotated[Overlap, typer.Option(help="buffer_all runs one after the other.")] = "allow_all",
    max_count: Annotated[int, typer.Option(min=1, help="More than so many are refused.")] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Start the runs of times that have passed. It asks first, with their number."""
    begin, last = (moment.replace(tzinfo=moment.tzinfo or UTC) for moment in (start, end))
    async with target.connect(start=False) as client:
        times = await client.triggers.times(name, begin, last, limit=max_count + 1)
        many = f"{len(times)} times" if len(times) <= max_count else f"more than {max_count} times"
        if times:
            note(f"{name}: {many}, from {times[0].isoformat()} to {times[-1].isoformat()}")
        if (
            not dry_run
            and times
            and len(times) <= max_count
            and not yes
            and not _confirmed(len(times), target)
        ):
            return ExitCode.FAILED
        count = 0
        if not dry_run:
            with busy("starting"):
                count = await client.triggers.backfill(
                    name, begin, last, overlap=overlap, max_count=max_count
                )
    if target.json:
        print_json({"trigger": name, "times": len(times), "started": count})
    else:
        say(f"{name}: {many}" if dry_run else f"{name}: {count} started")
    return ExitCode.OK


@command(app, "delete")
async def delete(name: Name, target: Target) -> None:
    """Delete a trigger; its runs go on."""
    async with target.connect(start=False) as client:
        await client.triggers.delete(name)
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
) -> int:
    """Make or change the triggers that workflows declare. Exit code 1 if one was made otherwise, and is left."""
    workflows = {name: one for given in apps for name, one in load_app(given).workflows.items()}
    async with target.connect(start=True) as client:
        with busy("syncing triggers"):
            report = await client.triggers.sync(workflows.values(), prune=prune)
    if target.json:
        print_json(report.to_dict())
    else:
        for what, names in vars(report).items():
            for name in names:
                say(f"{name}: {what}")
        if report.undeclared:
            note("--prune deletes what is declared no more", style="dim")
    return ExitCode.FAILED if report.refused else ExitCode.OK


def _on(
    cron: str | None,
    timezone: str,
    every: timedelta | None,
    offset: timedelta,
    jitter: timedelta | None,
    event: str | None,
    webhook: str | None,
    where: str | None,
    make: str | None,
) -> On:
    if [cron, every, event, webhook].count(None) != 3:
        raise InvalidInput("say when: one of --cron, --every, --event and --webhook")
    if (cron or every) and (where or make):
        raise InvalidInput("--where and --make are for --event and --webhook")
    if cron is not None:
        return Cron(cron, timezone=timezone, jitter=jitter)
    if every is not None:
        return Interval(every, offset=offset, jitter=jitter)
    if event is not None:
        return OnEvent(event, where=where, input=make or "payload")
    return OnWebhook(secret=webhook or "", where=where, input=make or "payload")


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


def _confirmed(count: int, target: Target) -> bool:
    if target.json or not sys.stdin.isatty():
        raise InvalidInput(f"{count} runs would be started; look with --dry-run, then do it with --yes")
    return typer.confirm(f"Start {count} runs?", err=True)
