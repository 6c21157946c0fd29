"""`holdfast approvals`: what waits for a person."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

import typer

from holdfast import Client, InvalidInput, NotFound
from holdfast.client.approvals import Approval
from holdfast.spec.check_graph import closest
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
    ahead: Annotated[
        bool, typer.Option("--ahead", help="Decide an approval that the run has not asked for yet.")
    ] = False,
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
            chosen = await _known(client, run, name, ahead=ahead)
            sent = await client.approvals.decide(run, chosen, answer)
    if target.json:
        print_json({"id": run, "name": chosen, "done": sent})
    else:
        say(
            f"{run}: {chosen} {'decided' if sent == 'delivered' else 'is decided as soon as a worker serves the run'}"
        )


async def _known(client: Client, run: str, name: str | None, *, ahead: bool) -> str:
    """The name of the approval that is decided.

    Raises:
        NotFound: The run waits for none of that name.
        InvalidInput: None is named, and several are open.
    """
    described = await client.get(run).describe()
    waits = [wait.name for wait in described.waits if wait.kind == "approval"]
    if name is None:
        if not waits:
            raise NotFound(f"run {run!r} has no open approval")
        if len(waits) > 1:
            raise InvalidInput(f"run {run!r} has {len(waits)} open approvals, name one: {', '.join(waits)}")
        return waits[0]
    if described.state.closed or name in waits:
        return name
    if described.listens_to is not None and name not in described.listens_to:
        near, there = closest(name, described.listens_to), ", ".join(described.listens_to) or "none"
        raise NotFound(f"run {run!r}: its DAG has no approval {name!r}. {near}It has: {there}")
    if not ahead:
        raise NotFound(
            f"run {run!r} has no open approval {name!r}; it may be decided already. {closest(name, waits)}Open are: "
            f"{', '.join(waits) or 'none'}; --ahead decides one that comes later"
        )
    return name


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
