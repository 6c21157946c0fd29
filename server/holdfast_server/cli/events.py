"""`holdfast events`: what happens to runs, as it comes, and what is told to those who listen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict, cast

import typer
from rich.text import Text

from holdfast.client.events import RUNS, Event
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, cell, clean, note, print_json, say, stdout, table, when
from holdfast_server.cli.record import By, Reason
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import read_json

app = typer.Typer(
    name="events", help="What happens to runs, as it comes.", no_args_is_help=True, rich_markup_mode=None
)

_SHOWN = 160


class Wanted(TypedDict):
    """Which events."""

    kinds: Sequence[str]
    runs: Sequence[str]
    workflows: Sequence[str]
    channels: Sequence[str]


@command(app, "tail", serves=True)
async def tail(
    target: Target,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only these kinds, such as step.failed or 'workflow.*'. Repeatable."),
    ] = None,
    run: Annotated[list[str] | None, typer.Option(help="Only of these runs. Repeatable.")] = None,
    workflow: Annotated[
        list[str] | None, typer.Option(help="Only of runs of these workflows. Repeatable.")
    ] = None,
    channel: Annotated[
        list[str] | None, typer.Option(help="Only of these channels: runs, or what is published. Repeatable.")
    ] = None,
    after: Annotated[
        int | None, typer.Option(min=0, help="Begin after this cursor; 0: with the oldest that is kept.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Without --after: show so many before.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on with what comes, until Ctrl-C.")
    ] = True,
) -> None:
    """Print events, oldest first, and go on with what comes."""
    wanted = Wanted(kinds=kind or (), runs=run or (), workflows=workflow or (), channels=channel or ())
    async with target.connect(start=False) as client:
        if after is None:
            after = await client.events.cursor()
            for event in reversed(await client.events.list(**wanted, limit=limit)):
                if event.cursor is not None and event.cursor <= after:
                    _show(event, as_json=target.json)
        if follow and not target.json:
            note("Ctrl-C ends this; --after CURSOR goes on after an event", style="dim")
        async for event in client.events.listen(**wanted, after=after, follow=follow):
            _show(event, as_json=target.json)


@command(app, "publish")
async def publish(
    channel: Annotated[str, typer.Argument(help="Any name but `runs`.", show_default=False)],
    target: Target,
    payload: Annotated[
        str, typer.Argument(metavar="[JSON|@FILE|-]", help="What to tell.", show_default=False)
    ] = "null",
    notify_only: Annotated[
        bool, typer.Option("--notify-only", help="Only to those who listen now: it is not stored.")
    ] = False,
) -> None:
    """Tell all who listen to a channel."""
    value = read_json(payload, option="the payload")
    async with target.connect(start=False) as client:
        cursor = await client.events.publish(channel, value, notify_only=notify_only)
    if target.json:
        print_json({"channel": channel, "cursor": cursor})
    else:
        say("sent to those who listen" if cursor is None else f"stored with cursor {cursor}")


@command(app, "subscriptions")
async def subscriptions(target: Target) -> None:
    """The named readers of events, and how far each has come; those of Holdfast itself included."""
    async with target.connect(start=False) as client:
        with busy("reading subscriptions"):
            found = await client.events.subscriptions()
    if target.json:
        print_json([one.to_dict() for one in found])
    elif found:
        rows: list[Sequence[Text | str]] = [
            [cell(one.name), str(one.cursor), when(one.updated)] for one in found
        ]
        stdout().print(table(["subscription", "cursor", "last came on"], rows))
    else:
        note("no subscriptions")


@command(app, "unsubscribe")
async def unsubscribe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The subscription.", show_default=False)],
    target: Target,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Forget a subscription. A reader that is at work makes it anew."""
    async with target.connect(start=False) as client:
        await client.events.unsubscribe(name, by=by, reason=reason)
    if target.json:
        print_json({"subscription": name, "done": "forgotten"})
    else:
        say(f"{name} forgotten")


def _show(event: Event, *, as_json: bool) -> None:
    if as_json:
        print_json(event.to_dict(), indent=None)
        return
    payload = event.payload
    if event.channel == RUNS and isinstance(payload, dict):
        facts = cast("dict[str, Any]", payload)
        about = [event.run_id or "", event.workflow or "", facts.get("step") or ""]
        if error := facts.get("error"):
            about.append(f"{error['type']}: {error['message']}")
    else:
        about = [f"#{event.channel}", json.dumps(event.payload, ensure_ascii=False)]
    text = clean("  ".join(filter(None, about)))
    cursor = "" if event.cursor is None else str(event.cursor)
    say(f"{cursor:>8}  {when(event.at):<8}  {event.kind:<20}  {text[:_SHOWN]}")
