"""What runs were like: figures over any filter, and exports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from holdfast.errors import InvalidInput
from holdfast.run_filter import RunFilter
from holdfast.store.figures import By, Comparison, Group, Interval, Point, StepFigures, Summary

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.store.database import Database

Format: TypeAlias = Literal["csv", "json", "ndjson"]
What: TypeAlias = Literal["runs", "steps"]


class Analytics:
    """`client.analytics`: read from what `holdfast indexer` keeps, which is some moments behind.

    Counts and sums are exact, quantiles say how they were found; see `holdfast.store.figures`. All of it raises
    `Unavailable` if no indexer has read this namespace yet, or the database does not answer, and `InvalidConfiguration`
    if the database keeps the runs of another namespace.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def summary(self, chosen: RunFilter | None = None) -> Summary:
        """All in one look: counts by state, rates, durations, queue waits, throughput, tokens and cost.

        Args:
            chosen: Which runs. Default: all.
        """
        from holdfast.store.analytics import summary

        return await self._client.store.read(summary, chosen or RunFilter())

    async def trends(self, chosen: RunFilter | None = None, *, interval: Interval = "day") -> list[Point]:
        """The runs over time, in UTC, by when they started. Hours and days without runs are left out.

        Args:
            chosen: Which runs. Default: all.
            interval: By `hour`, by `day`, or as a `heatmap`: by hour of the week.

        Raises:
            InvalidInput: There is no such interval.
        """
        from holdfast.store.analytics import trends

        _check("interval", interval, ("hour", "day", "heatmap"))
        return await self._client.store.read(trends, chosen or RunFilter(), interval)

    async def steps(self, chosen: RunFilter | None = None) -> list[StepFigures]:
        """The steps of runs, the most frequent first: failures by error type, durations, attempts, queue waits.

        Of filters by workflow, version and start alone, all executions of the runs count, also those before a
        retry of the whole run. With other filters and more than 2,000 runs, a fair part of these is looked at;
        `sampled` says so.

        Args:
            chosen: Which runs. Default: all.
        """
        from holdfast.store.analytics import steps

        return await self._client.store.read(steps, chosen or RunFilter())

    async def by_value(self, by: By, chosen: RunFilter | None = None) -> list[Group]:
        """The runs by what they have in common, the most frequent first.

        Args:
            by: `workflow`, `version`, `queue` or `error_type`.
            chosen: Which runs. Default: all.

        Raises:
            InvalidInput: There is no such thing to go by.
        """
        from holdfast.store.analytics import by_value

        _check("by", by, ("workflow", "version", "queue", "error_type"))
        return await self._client.store.read(by_value, chosen or RunFilter(), by)

    async def compare(self, before: RunFilter, after: RunFilter) -> Comparison:
        """Two sets of runs: two periods, two versions, or what else two filters tell apart.

        Args:
            before: What to compare with.
            after: What to compare.
        """
        from holdfast.store.analytics import compare

        return await self._client.store.read(compare, before, after)

    async def export(
        self,
        chosen: RunFilter | None = None,
        *,
        format: Format = "csv",
        what: What = "runs",
        show: Callable[[int], None] | None = None,
    ) -> AsyncGenerator[str]:
        """Runs, or their steps, newest run first, piece by piece: as much memory for a million as for a thousand.

        No transaction stays open in between: runs that start meanwhile are left out, and those that change are told as
        they are when their turn comes.

        Args:
            chosen: Which runs. Default: all.
            format: `csv`, with a header, in which no cell is a formula to a spreadsheet; `json`, one list; `ndjson`,
                one object per line. Times are in ISO 8601, spans in microseconds.
            what: `runs`, or the `steps` of these runs.
            show: Called with the number of runs that are done.

        Yields:
            Pieces of text, up to some hundred kilobytes each.

        Raises:
            InvalidInput: There is no such format, or nothing of that kind to export.
        """
        from holdfast.store.export import export

        _check("format", format, ("csv", "json", "ndjson"))
        _check("what", what, ("runs", "steps"))
        database = await self._client.store.read(_itself)
        pieces = export(database, chosen or RunFilter(), format, what, show=show)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece


def _itself(database: Database) -> Database:
    return database


def _check(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InvalidInput(f"{name}={given!r}: use one of {', '.join(known)}")
