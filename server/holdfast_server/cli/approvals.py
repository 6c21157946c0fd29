"""`holdfast approvals`: what waits for a person."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

import typer

from holdfast import Client, InvalidInput, NotFound
from holdfast.client.approvals import Approval
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, cell, note, print_json, say, stdout, table, when
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import read_json

app = typer.Typer(help="What waits for a person.", no_args_is_help=True, rich_markup_mode=None)


@command(app, "list")
async def list_approvals(
    target: Target, run: Annotated[str | None, typer.Option(help="Only those of this run.")] = None
) -> None:
    """List the open approvals, longest waiting first."""
    async with target.connect(start=False) as client:
        with busy("reading approvals"):
            found = await client.approvals.list(run_id=run)
    if target.json:
        print_json([_as_json(approval) for approval in found])
    elif not found:
        note("no open approvals")
    else:
        stdout().print(
            table(
                ["run", "name", "prompt", "answer", "since", "until"],
                [
                    [cell(a.run_id), a.name, a.prompt, _fields(a), when(a.since), when(a.deadline)]
                    for a in found
                ],
            )
        )
        note("decide one: holdfast approvals decide RUN NAME --approve", style="dim")


@command(app, "decide")
async def decide(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)],
    target: Target,
    name: Annotated[
        str | None,
        typer.Argument(help="The approval's name; not needed when only one is open.", show_default=False),
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="The answer is yes.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="The answer is no.")] = False,
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decides.")] = None,
    input: Annotated[
        str | None,
        typer.Option(
            "--input", "-i", metavar="JSON|@FILE|-", help="The whole form, for one with other fields."
        ),
    ] = None,
) -> None:
    """Decide an approval."""
    if [approve, reject, input is not None].count(True) != 1:
        raise InvalidInput("give one of --approve, --reject, or the form with --input")
    answer: Any = read_json(input, option="--input") if input is not None else {"approved": approve}
    extra = {"comment": comment, "by": by}
    if isinstance(answer, dict):
        answer = {
            **cast("dict[str, Any]", answer),
            **{key: text for key, text in extra.items() if text is not None},
        }
    async with target.connect(start=False) as client:
        with busy("deciding"):
            chosen = name or await _only(client, run)
            sent = await client.approvals.decide(run, chosen, answer)
    if target.json:
        print_json({"id": run, "name": chosen, "done": sent})
    else:
        say(
            f"{run}: {chosen} {'decided' if sent == 'delivered' else 'is decided as soon as a worker serves the run'}"
        )


async def _only(client: Client, run: str) -> str:
    waits = [wait for wait in (await client.get(run).describe()).waits if wait.kind == "approval"]
    if not waits:
        raise NotFound(f"run {run!r} has no open approval")
    if len(waits) > 1:
        raise InvalidInput(
            f"run {run!r} has {len(waits)} open approvals, name one: {', '.join(w.name for w in waits)}"
        )
    return waits[0].name


def _fields(approval: Approval) -> str:
    fields = cast("dict[str, dict[str, Any]]", approval.form.get("properties", {}))
    required = cast("list[str]", approval.form.get("required", []))
    return ", ".join(
        f"{name}: {field.get('type', 'any')}" for name, field in fields.items() if name in required
    )


def _as_json(approval: Approval) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in vars(approval).items()
    }
