"""`holdfast dead-letters`: what has failed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from holdfast import Client, HoldfastError, InvalidInput
from holdfast.client.dead_letters import Redriven
from holdfast.options import UNSET
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, cell, note, print_json, say, stdout, table, when
from holdfast_server.cli.record import By, Reason
from holdfast_server.cli.run_list import tell_lag
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import read_json

if TYPE_CHECKING:
    from holdfast.store.dead_letters import DeadLetter

app = typer.Typer(
    help="What has failed for good: look at it, do it again, or give it up.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_STYLES = {"pending": "red", "retrying": "yellow", "resolved": "green", "abandoned": "dim"}

Status = Annotated[
    Literal["pending", "retrying", "resolved", "abandoned", "all"],
    typer.Option(help="Only those of this status; all: whatever it is."),
]
Kind = Annotated[
    Literal["run", "compensation", "trigger"] | None, typer.Option(help="Only those of this kind.")
]
Fingerprint = Annotated[str | None, typer.Option(help="Only those with this error, as `groups` shows it.")]
Workflow = Annotated[str | None, typer.Option(help="Only those of this workflow or DAG.")]
Letter = Annotated[int, typer.Argument(metavar="ID", help="The letter's id.", show_default=False)]


@command(app, "list")
async def list_letters(
    target: Target,
    status: Status = "pending",
    kind: Kind = None,
    fingerprint: Fingerprint = None,
    workflow: Workflow = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    before: Annotated[int | None, typer.Option(min=1, help="Only those before the one with this id.")] = None,
) -> None:
    """List dead letters, the newest first."""
    async with target.connect(start=False) as client:
        with busy("reading dead letters"):
            found = await client.dead_letters.list(
                status=None if status == "all" else status,
                kind=kind,
                fingerprint=fingerprint,
                workflow=workflow,
                limit=limit,
                before=before,
            )
        await tell_lag(client)
    if target.json:
        print_json([letter.to_dict() for letter in found])
    elif found:
        columns = ["id", "kind", "status", "run", "workflow", "failed", "error"]
        rows: list[list[Text | str]] = [
            [
                str(letter.id),
                letter.kind,
                cell(letter.status, style=_STYLES[letter.status]),
                cell(letter.run_id),
                cell(letter.workflow),
                when(letter.failed),
                cell(_error(letter)),
            ]
            for letter in found
        ]
        stdout().print(table(columns, rows))
        if len(found) == limit:
            note(f"more: --before {found[-1].id}", style="dim")
    else:
        note("no dead letters" if status == "all" else f"no dead letters are {status}")


@command(app, "groups")
async def groups(
    target: Target,
    status: Status = "pending",
    kind: Kind = None,
    workflow: Workflow = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many groups.")] = 50,
) -> None:
    """Count dead letters by their error, the most frequent first."""
    async with target.connect(start=False) as client:
        with busy("reading dead letters"):
            found = await client.dead_letters.groups(
                status=None if status == "all" else status, kind=kind, workflow=workflow, limit=limit
            )
        await tell_lag(client)
    if target.json:
        print_json([group.to_dict() for group in found])
    elif found:
        columns = ["count", "kind", "fingerprint", "since", "latest", "error"]
        rows: list[list[Text | str]] = [
            [
                str(group.count),
                group.kind,
                group.fingerprint or "",
                when(group.first),
                f"{group.latest.id}",
                cell(_error(group.latest)),
            ]
            for group in found
        ]
        stdout().print(table(columns, rows))
    else:
        note("no dead letters")


@command(app, "show")
async def show(letter: Letter, target: Target) -> None:
    """Show a dead letter: what failed, why, with which input, and what was done about it."""
    async with target.connect(start=False) as client:
        with busy("reading the dead letter"):
            found = await client.dead_letters.get(letter)
    if target.json:
        print_json(found.to_dict())
        return
    facts: dict[str, Any] = {
        "dead letter": found.id,
        "kind": found.kind,
        "status": found.status,
        "reason": found.reason,
        "run": found.run_id,
        "workflow": found.workflow,
        "error": _error(found),
        "fingerprint": found.fingerprint,
        "failed": when(found.failed),
        "redriven": f"{found.attempts} times" if found.attempts else None,
        "redriven as": found.redriven_as,
    }
    payload = dict(found.payload or {})
    shown: list[Any] = payload.pop("input", None) or []
    facts |= {
        name.replace("_", " "): value for name, value in payload.items() if value not in (None, [], False)
    }
    for name, value in facts.items():
        if value not in (None, ""):
            say(f"{name:<20}{value}")
    for given in shown:
        say(f"{'input':<20}{given if found.kind == 'trigger' else given['text']}")


@command(app, "redrive")
async def redrive(
    target: Target,
    letters: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="Which letters.", show_default=False)
    ] = None,
    kind: Annotated[
        Literal["run", "trigger"] | None,
        typer.Option(help="Only those of this kind. Default: both; compensations are not redriven."),
    ] = None,
    fingerprint: Fingerprint = None,
    workflow: Workflow = None,
    all: Annotated[bool, typer.Option("--all", help="All that are pending.")] = False,
    input: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE|-",
            help="Another input for one letter; of several arguments a list, of a trigger an object by name.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, help="How many a second at most.")] = 10.0,
    max_letters: Annotated[int, typer.Option(min=1, help="Where more fit, nothing is done.")] = 1000,
    reason: Reason = "",
    by: By = None,
) -> int:
    """Do again what has failed: letters by id, or all pending ones with an error or of a workflow.

    A run goes on with what its steps have done; with --input a new one is started. Exit code 1 if it failed for some.
    """
    many = all or kind is not None or fingerprint is not None or workflow is not None
    if many == bool(letters):
        raise InvalidInput(
            "name letters by their ids, or which ones by --kind, --fingerprint, --workflow or --all"
        )
    if input is not None and (not letters or len(letters) != 1):
        raise InvalidInput("--input is for one letter: name it")
    given = UNSET if input is None else read_json(input, option="--input")
    async with target.connect(start=False) as client:
        with busy("redriving") as tell:

            def progress(report: Redriven) -> None:
                tell(f"redriving: {report.done} of {report.matched}")

            if many:
                report = await client.dead_letters.redrive_many(
                    kind=kind,
                    fingerprint=fingerprint,
                    workflow=workflow,
                    rate=rate,
                    max_letters=max_letters,
                    reason=reason,
                    by=by,
                    progress=progress,
                )
            else:
                report = await _redrive_each(client, letters or [], input=given, reason=reason, by=by)
    if target.json:
        print_json(report.to_dict())
    elif many:
        say(f"{report.done} of {report.matched} redriven, {report.failed} failed")
    else:
        for letter in report.letters:
            say(f"{letter.id}: {letter.status}, as run {letter.redriven_as or letter.run_id}")
    if report.left_out:
        note(f"{report.left_out} more are of other kinds, and are left out", style="dim")
    for problem in report.problems:
        note(problem, style="red")
    return ExitCode.FAILED if report.failed else ExitCode.OK


async def _redrive_each(
    client: Client, letters: list[int], *, input: Any, reason: str, by: str | None
) -> Redriven:
    """One letter that cannot be redriven is an error; of several, the others are."""
    done: list[DeadLetter] = []
    problems: list[str] = []
    for number in letters:
        try:
            done.append(await client.dead_letters.redrive(number, input=input, reason=reason, by=by))
        except HoldfastError as error:
            if len(letters) == 1:
                raise
            problems.append(f"{number}: {error}")
    return Redriven(
        matched=len(letters), done=len(done), failed=len(problems), problems=problems, letters=done
    )


@command(app, "discard")
async def discard(
    letter: Letter,
    target: Target,
    reason: Annotated[str, typer.Option(help="Why; it must be given.", show_default=False)],
    by: By = None,
) -> None:
    """Give a dead letter up. What has failed is not touched."""
    async with target.connect(start=False) as client:
        found = await client.dead_letters.discard(letter, reason, by=by)
    if target.json:
        print_json(found.to_dict())
    else:
        say(f"{letter}: abandoned")


def _error(letter: DeadLetter) -> str:
    times = (letter.payload or {}).get("count", 1)
    often = f" ({times} times)" if times > 1 else ""
    return ": ".join(filter(None, (letter.error_type, letter.error_message))) + often
