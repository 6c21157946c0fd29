"""`holdfast runs list`, `facets` and `actions`."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from holdfast import Client, InvalidInput
from holdfast.client.run_lines import RunSummary
from holdfast.run_filter import FacetName, RunFilter
from holdfast.states import RunState
from holdfast_server.cli import show as render
from holdfast_server.cli.command import command
from holdfast_server.cli.described import described_anywhere
from holdfast_server.cli.filters import with_filter
from holdfast_server.cli.output import busy, cell, note, print_json, span, stdout, table, when
from holdfast_server.cli.target import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.store.stored import StoredRun

_PAGE = 1000
_LATE = timedelta(seconds=10)
_LISTED = {state for state in RunState if state.closed}
"""The states that Temporal's list knows: of an open run it cannot tell whether it runs, sleeps or is stuck."""


def add(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "list")(with_filter(list_runs))
    command(app, "facets")(with_filter(facets))
    command(app, "actions")(actions)


async def list_runs(
    target: Target,
    chosen: RunFilter,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    after: Annotated[
        str | None, typer.Option(help="Go on behind the run with this `after`; from the history.")
    ] = None,
) -> None:
    """List the latest runs: open ones first, then those that ended last, as Temporal lists them. With options that
    Temporal does not know, such as the state of an open run, from the history that `holdfast indexer` keeps: those that
    started last first. `source` in `--json` says which it was; what Temporal does not know is null there."""
    async with target.connect(start=False) as client:
        if after is None and (given := _listed(chosen)) is not None:
            with busy("reading runs"):
                found = await client.runs.list(**given, limit=limit)
            rows = (
                [_unknown() | run.to_dict() | {"source": "temporal"} for run in found] if target.json else []
            )
            more = f"the latest {limit}; --limit shows more" if len(found) == limit else None
        else:
            with busy("searching the history"):
                stored, following = await _search(client, chosen, limit, after)
            await tell_lag(client)
            found = [summary(run) for run in stored]
            rows = [{**run.to_dict(), "after": str(run.key), "source": "history"} for run in stored]
            more = "from the history, those that started last first"
            more += f"; more: --after {following}" if following else ""
    if target.json:
        print_json(rows)
    elif found:
        print_summaries(found)
        if more:
            note(more, style="dim")
    else:
        note("no runs")


def _listed(chosen: RunFilter) -> dict[str, Any] | None:
    """What Temporal's list is asked for; `None` if that does not know all of the filter."""
    states, workflows = list(chosen.states), list(chosen.workflows)
    only_these = replace(chosen, states=(), workflows=(), open=None) == RunFilter()
    if not only_these or len(states) > 1 or len(workflows) > 1 or not _LISTED.issuperset(states):
        return None
    return {
        "state": states[0] if states else None,
        "open": chosen.open,
        "workflow": workflows[0] if workflows else None,
    }


def _unknown() -> dict[str, Any]:
    """A line of the history of which nothing is known."""
    from holdfast.store.stored import StoredRun

    return dict.fromkeys([*(entry.name for entry in fields(StoredRun)), "after"])


async def _search(
    client: Client, chosen: RunFilter, limit: int, after: str | None
) -> tuple[list[StoredRun], str | None]:
    found: list[StoredRun] = []
    while len(found) < limit:
        page = await client.runs.search(chosen, limit=min(_PAGE, limit - len(found)), after=after)
        found += page.runs
        after = page.next
        if after is None:
            break
    return found, after


async def facets(
    target: Target,
    chosen: RunFilter,
    by: Annotated[FacetName, typer.Argument(help="What to count by.", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
) -> None:
    """Count the runs of the history by what they have in common, the most frequent first, each with its newest run:
    `facets error_type --since 1d` says what goes wrong today."""
    async with target.connect(start=False) as client:
        with busy("searching the history"):
            found = await client.runs.facets(by, chosen, limit=limit)
        await tell_lag(client)
    if target.json:
        print_json([facet.to_dict() for facet in found])
    elif found:
        rows: list[list[Text | str]] = [
            [
                str(facet.count),
                cell(facet.value or ""),
                cell(facet.latest.id),
                when(facet.latest.started),
                cell(facet.latest.error_message or ""),
            ]
            for facet in found
        ]
        stdout().print(table(["runs", by, "newest", "started", "its error"], rows))
    else:
        note("no runs")


async def tell_lag(client: Client) -> None:
    """Say how old what the history says is, if it is old, or that it is read for the first time."""
    lag = await client.runs.lag()
    if lag is None:
        count = await client.runs.count(RunFilter())
        note(f"the indexer still reads what Temporal has: {count} runs are stored so far", style="yellow")
    elif lag > _LATE:
        note(f"the history is {span(lag)} behind Temporal; `holdfast doctor` says why", style="yellow")


def summary(run: StoredRun) -> RunSummary:
    """A stored run as one line of a list."""
    return RunSummary(
        id=run.id,
        workflow=run.workflow,
        state=run.state,
        queue=run.queue,
        started=run.started,
        closed=run.closed,
    )


def print_summaries(found: Sequence[RunSummary]) -> None:
    """Print a list of runs."""
    now = datetime.now(UTC)
    stdout().print(
        table(
            ["run", "workflow", "state", "started", "took", "queue"],
            [
                [
                    cell(run.id),
                    run.workflow,
                    render.state(run.state),
                    when(run.started),
                    span((run.closed or now) - run.started),
                    run.queue,
                ]
                for run in found
            ],
        )
    )


async def actions(
    target: Target,
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Only what was done to this run.", show_default=False),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--on", help="Only what was done to this, such as 'trigger nightly' or database."),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Only what this person did.")] = None,
    what: Annotated[str | None, typer.Option(help="Only actions of this kind, such as cancel.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    before: Annotated[int | None, typer.Option(help="Only those before the one with this id.")] = None,
) -> None:
    """List what operators did, the latest first: who, what, why, and what came of it."""
    if before is not None and before < 1:
        raise InvalidInput(f"--before {before}: give the id of an action")
    async with target.connect(start=False) as client:
        with busy("reading the record"):
            found = await client.runs.actions(
                run, subject=subject, by=by, what=what, limit=limit, before=before
            )
            if run is not None and not found and not await client.runs.actions(run, limit=1):
                # A run that nobody knows is an error, not one without actions.
                await described_anywhere(client, run)
    if target.json:
        print_json([action.to_dict() for action in found])
    elif found:
        columns = ["id", "when", "who", "what", "on", "result", "why"]
        rows: list[list[Text | str]] = [
            [
                str(a.id),
                when(a.at),
                cell(a.who),
                cell(a.what),
                cell(a.run_id or a.subject),
                cell(a.result),
                cell(a.why),
            ]
            for a in found
        ]
        stdout().print(table(columns, rows))
        if len(found) == limit:
            note(f"more: --before {found[-1].id}", style="dim")
    else:
        note("no actions")
