"""`holdfast runs bulk`: one action on many runs."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from holdfast import Client, InvalidInput
from holdfast.client.bulk import MAX_RUNS, BulkAction, BulkReport
from holdfast.run_filter import RunFilter
from holdfast_server.cli.command import command
from holdfast_server.cli.confirm import confirm
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.filters import with_filter
from holdfast_server.cli.output import busy, note, print_json, say
from holdfast_server.cli.record import By, Reason
from holdfast_server.cli.run_list import print_summaries, summary, tell_lag
from holdfast_server.cli.target import Target


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "bulk")(with_filter(bulk))


async def bulk(
    target: Target,
    chosen: RunFilter,
    action: Annotated[BulkAction | None, typer.Argument(help="What to do.", show_default=False)] = None,
    reason: Reason = "",
    by: By = None,
    max_runs: Annotated[int, typer.Option(min=1, help="Where more runs fit, nothing is done.")] = MAX_RUNS,
    concurrency: Annotated[int, typer.Option(min=1, max=100, help="How many at a time.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would be done to.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    resume: Annotated[
        int | None, typer.Option(metavar="ID", help="Go on with one that was interrupted.")
    ] = None,
) -> int:
    """Do one thing to all runs of the history that fit: cancel, terminate, pause, resume or retry.

    Shows first how many fit, and asks. Exit code 1 if it failed for some.
    """
    if (action is None) == (resume is None):
        raise InvalidInput(
            "name an action and which runs, or --resume with the id of one that was interrupted"
        )
    if resume is None and chosen == RunFilter():
        raise InvalidInput("say which runs, as with --workflow or --state; --since 100000d means all")
    async with target.connect(start=False) as client:
        if action is not None:
            with busy("searching the history"):
                preview = await client.runs.bulk(action, chosen, dry_run=True)
            await tell_lag(client)
            if dry_run or not preview.matched:
                _show(preview, target)
                return ExitCode.OK
            if not yes:
                _ask(preview, target)
        report = await _do(
            client, action, chosen, resume, reason=reason, by=by, max_runs=max_runs, concurrency=concurrency
        )
    if target.json:
        print_json(report.to_dict())
    else:
        say(f"{report.action}: {_counts(report)}")
        for problem in report.problems:
            note(problem, style="red")
    return ExitCode.FAILED if report.failed else ExitCode.OK


async def _do(
    client: Client,
    action: BulkAction | None,
    chosen: RunFilter,
    resume: int | None,
    *,
    reason: str,
    by: str | None,
    max_runs: int,
    concurrency: int,
) -> BulkReport:
    last: BulkReport | None = None
    with busy("working") as show:

        def progress(report: BulkReport) -> None:
            nonlocal last
            if last is None:
                note(
                    f"bulk operation {report.id}; if it is interrupted: holdfast runs bulk --resume {report.id}"
                )
            last = report
            show(f"{report.action}: {_counts(report)} of {report.matched}")

        try:
            if action is None:
                return await client.runs.continue_bulk(
                    resume or 0, by=by, concurrency=concurrency, progress=progress
                )
            return await client.runs.bulk(
                action,
                chosen,
                reason=reason,
                by=by,
                max_runs=max_runs,
                concurrency=concurrency,
                progress=progress,
            )
        except asyncio.CancelledError:
            if last is not None:
                note(f"interrupted: {_counts(last)}; to go on: holdfast runs bulk --resume {last.id}")
            raise


def _ask(preview: BulkReport, target: Target) -> None:
    if not target.json:
        _show(preview, target)
    unasked = f"{preview.matched} runs fit; look with --dry-run, then do it with --yes"
    confirm(f"{preview.action} {preview.matched} runs?", unasked=unasked, as_json=target.json)


def _show(preview: BulkReport, target: Target) -> None:
    if target.json:
        print_json(preview.to_dict())
        return
    say(f"{preview.action}: {preview.matched} runs fit")
    if preview.examples:
        print_summaries([summary(run) for run in preview.examples])
        if preview.matched > len(preview.examples):
            note(f"and {preview.matched - len(preview.examples)} more", style="dim")


def _counts(report: BulkReport) -> str:
    return f"{report.done} done, {report.failed} failed, {report.skipped} skipped"
