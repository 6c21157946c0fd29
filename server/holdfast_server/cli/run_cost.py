"""`holdfast runs cost`: what a run took."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from holdfast.client.cost import RunCost
from holdfast.engine.history.text import size
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, cell, note, print_json, say, span, stdout, table
from holdfast_server.cli.target import Target


def add(runs: typer.Typer) -> None:
    """Register the command."""
    command(runs, "cost")(cost)


async def cost(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)],
    target: Target,
) -> None:
    """Say what a run took: events, billable actions of Temporal Cloud, bytes, round trips, tokens and money; its
    largest values; and which steps could be local ones."""
    async with target.connect(start=False) as client:
        with busy("reading the run"):
            found = await client.get(run).cost()
    if target.json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: RunCost) -> None:
    by_kind = ", ".join(f"{count:,} {name}" for name, count in found.actions.items())
    say(f"{found.run_id} ({found.workflow})")
    say(f"  actions      {found.action_count:,}: {by_kind}")
    say(
        f"  events       {found.event_count:,} in {found.execution_count:,} executions, {size(found.history_bytes)}"
    )
    say(
        f"  round trips  {found.round_trips:,}: {found.workflow_tasks:,} workflow tasks, "
        f"{found.step_attempts:,} attempts of steps"
    )
    if found.usage:
        say(f"  used up      {found.tokens:,} tokens, ${found.cost_usd:.4f}")
        rows: list[list[Text | str]] = [
            [cell(one.step), str(one.call_count), f"{one.tokens:,}", f"${one.cost_usd:.4f}"]
            for one in found.usage
        ]
        stdout().print(table(["step", "calls", "tokens", "cost"], rows))
    if found.largest:
        say("largest values")
        for payload in found.largest:
            where = ", in storage" if payload.in_storage else ""
            say(f"  {size(payload.size_bytes):>10}  {payload.what}, event {payload.event_id}{where}")
    for one in found.local:
        say(
            f"{one.step} took {span(one.longest)} at most in {one.call_count:,} calls: if it may run again after a "
            f"crash, local=True saves up to {one.saves_events:,} events, {one.saves_actions:,} actions and "
            f"{one.saves_round_trips:,} round trips"
        )
    if found.children:
        note(f"without its {len(found.children):,} child runs", style="dim")
    if found.is_cut:
        note("executions before these are gone and not counted", style="dim")
    note(f"actions are an estimate by {found.rules}, without {found.not_counted}", style="dim")
