"""`holdfast analytics`: what runs were like."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import RenderableType

from holdfast import Client, InvalidInput
from holdfast.client.analytics import Format, What
from holdfast.run_filter import RunFilter
from holdfast.store.figures import By, Interval, Point
from holdfast_server.cli import figures as render
from holdfast_server.cli.command import command
from holdfast_server.cli.filters import with_filter
from holdfast_server.cli.output import busy, note, print_json, stdout, when
from holdfast_server.cli.target import Target

app = typer.Typer(help="What runs were like, from the history.", no_args_is_help=True, rich_markup_mode=None)

_MOST_POINTS = 400


@command(app, "summary")
@with_filter
async def summary(target: Target, chosen: RunFilter) -> None:
    """Counts, success, durations, queue waits, retries, throughput, tokens and cost."""
    async with target.connect(start=False) as client:
        with busy("adding up"):
            told = await client.analytics.summary(chosen)
            points = [] if target.json else await _over_time(client, chosen)
    if target.json:
        print_json(told.to_dict())
    elif told.total:
        _print(render.of_summary(told, points, stdout().width), chosen, told.sampled)
    else:
        note("no runs")


@command(app, "trends")
@with_filter
async def trends(
    target: Target,
    chosen: RunFilter,
    by: Annotated[Interval, typer.Option(help="Hours, days, or hours of the week.")] = "day",
) -> None:
    """Runs over time, by when they started, in UTC."""
    async with target.connect(start=False) as client:
        with busy("adding up"):
            points = await client.analytics.trends(chosen, interval=by)
    if target.json:
        print_json([point.to_dict() for point in points])
    elif not points:
        note("no runs")
    elif by == "heatmap":
        _print(render.of_heatmap(points), chosen, points[0].sampled)
    else:
        starts = _starts(points, timedelta(hours=1) if by == "hour" else timedelta(days=1))
        if len(starts) > _MOST_POINTS:
            note(f"the last {_MOST_POINTS} of {len(starts)}; --since chooses, --json shows all", style="dim")
        form = "%Y-%m-%d %H:00" if by == "hour" else "%Y-%m-%d"
        shown = render.of_trends(points, starts[-_MOST_POINTS:], form, stdout().width)
        _print(shown, chosen, points[0].sampled)


@command(app, "steps")
@with_filter
async def steps(target: Target, chosen: RunFilter) -> None:
    """Each step: calls, failures by error type, attempts, durations."""
    async with target.connect(start=False) as client:
        with busy("adding up"):
            found = await client.analytics.steps(chosen)
    if target.json:
        print_json([step.to_dict() for step in found])
    elif found:
        _print(render.of_steps(found, stdout().width), chosen)
    else:
        note("no steps")


@command(app, "by")
@with_filter
async def by_value(
    what: Annotated[By, typer.Argument(help="What to go by.", show_default=False)],
    target: Target,
    chosen: RunFilter,
) -> None:
    """Runs by workflow, version, queue or error type."""
    async with target.connect(start=False) as client:
        with busy("adding up"):
            groups = await client.analytics.by_value(what, chosen)
    if target.json:
        print_json([group.to_dict() for group in groups])
    elif groups:
        shown = render.of_groups(groups, what.replace("_", " "), stdout().width)
        _print(shown, chosen, groups[0].sampled)
    else:
        note("no runs")


@command(app, "compare")
@with_filter
async def compare(
    target: Target,
    chosen: RunFilter,
    against: Annotated[
        str | None,
        typer.Option(
            help="A version to compare --version with. Default: the time before, as long as --since."
        ),
    ] = None,
) -> None:
    """A period against the one before it, or a version against another."""
    before, names = _before(chosen, against)
    async with target.connect(start=False) as client:
        with busy("adding up"):
            told = await client.analytics.compare(before, chosen)
    if target.json:
        print_json(told.to_dict())
    else:
        stdout().print(render.of_comparison(told, names))


@command(app, "export")
@with_filter
async def export(
    target: Target,
    chosen: RunFilter,
    what: Annotated[What, typer.Option(help="Runs, or the steps of these runs.")] = "runs",
    format: Annotated[Format | None, typer.Option(help="Default: that of --output's name, else csv.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, written as a whole or not at all. Default: stdout."),
    ] = None,
) -> None:
    """Write runs or their steps as CSV, JSON or NDJSON, newest first."""
    form = format or _form_of(output, as_json=target.json)
    async with target.connect(start=False) as client:
        with busy("exporting") as show:
            total = await client.runs.count(chosen)

            def progress(done: int) -> None:
                show(f"exporting: {done:,} of {total:,} runs")

            pieces = client.analytics.export(chosen, format=form, what=what, show=progress)
            if output is None:
                await _write(pieces, stdout().file)
                return
            with _atomic(output) as file:
                await _write(pieces, file)
    note(f"written to {output}", style="dim")


def _print(shown: RenderableType, chosen: RunFilter, sampled: float | None = None) -> None:
    if chosen.started_from is not None:
        note(f"from {when(chosen.started_from)} to {when(chosen.started_to)}", style="dim")
    if sampled is not None:
        note(f"of a sample: {render.percent(sampled)} of the runs", style="dim")
    stdout().print(shown)


async def _over_time(client: Client, chosen: RunFilter) -> list[int]:
    points = await client.analytics.trends(chosen)
    by_start = {point.start: point.total for point in points}
    return [by_start.get(start, 0) for start in _starts(points, timedelta(days=1))]


def _starts(points: list[Point], step: timedelta) -> list[datetime]:
    """All hours or days from the first point to the last."""
    known = [point.start for point in points if point.start is not None]
    if not known:
        return []
    return [known[0] + step * number for number in range((known[-1] - known[0]) // step + 1)]


def _before(chosen: RunFilter, against: str | None) -> tuple[RunFilter, tuple[str, str]]:
    if against is not None:
        if len(chosen.versions) != 1:
            raise InvalidInput("--against compares one version with another: give one --version")
        return replace(chosen, versions=[against]), (against or "(none)", next(iter(chosen.versions)))
    start, end = chosen.started_from, chosen.started_to
    if start is None or end is None or end <= start:
        raise InvalidInput("compare needs --since, such as --since 7d, or --version with --against")
    return replace(chosen, started_from=start - (end - start), started_to=start), ("before", "after")


def _form_of(output: Path | None, *, as_json: bool) -> Format:
    if output is None or output.suffix == "":
        return "json" if as_json else "csv"
    match output.suffix.lower():
        case ".csv":
            return "csv"
        case ".json":
            return "json"
        case ".ndjson" | ".jsonl":
            return "ndjson"
        case other:
            raise InvalidInput(f"--output ends in {other!r}: give --format csv, json or ndjson")


async def _write(pieces: AsyncIterable[str], file: IO[str]) -> None:
    async for piece in pieces:
        file.write(piece)
    file.flush()


@contextmanager
def _atomic(path: Path) -> Generator[IO[str]]:
    """A file that takes its place when all is written; whoever interrupts leaves what was there before."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be written: {error.strerror}") from error
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be written: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
