"""Figures by hour and by day, kept right while runs are indexed, and indexed again.

What a row adds is a function of the row, so a changed row takes away what the old one added and adds its own. All of it
is whole numbers: nothing drifts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, delete

from holdfast.store.columns import microseconds
from holdfast.store.quantiles import bucket
from holdfast.store.rows import is_failure
from holdfast.store.schema import histograms, rollups
from holdfast.store.upsert import upsert

HOUR: Final = 3_600_000_000
DAY: Final = 24 * HOUR
SPANS: Final = {"hour": HOUR, "day": DAY}
"""Microseconds."""

BLOCK: Final = 8 * DAY
"""Of these are the counts by bucket: so many days have hardly more buckets than one."""

SUMS: Final = (
    "count", "retried", "retries", "failed_steps", "closed", "duration_us", "queue_wait_us", "tokens", "cost_micros",
)  # fmt: skip
_KEYS: Final = tuple(column.name for column in rollups.primary_key)
_BUCKET_KEYS: Final = tuple(column.name for column in histograms.primary_key)


class Deltas:
    """What is to be added to the figures."""

    def __init__(self) -> None:
        self.sums: dict[tuple[Any, ...], list[int]] = {}
        self.buckets: Counter[tuple[Any, ...]] = Counter()

    def run(self, row: Mapping[str, Any], sign: int) -> None:
        """Add (1) or take away (-1) a row of `runs`."""
        started = microseconds(row["started"])
        sums = (1, int(row["retry_count"] > 0), row["retry_count"], row["failed_step_count"], *_common(row))
        outcome = (row["workflow"], row["version"], row["state"], row["error_type"] or "")
        for span, width in SPANS.items():
            self._add((span, "", started - started % width, *outcome), sums, sign)
        for measure in ("duration", "queue_wait"):
            value = row[f"{measure}_us"]
            if value is not None:
                key = (measure, started - started % BLOCK, row["workflow"], row["version"], bucket(value))
                self.buckets[key] += sign

    def step(self, row: Mapping[str, Any], execution: Mapping[str, Any], sign: int) -> None:
        """Add (1) or take away (-1) a row of `steps`, told by its execution's start, workflow and version."""
        started = microseconds(execution["started"])
        sums = (
            1,
            int(row["attempt"] > 1),
            row["attempt"] - 1,
            int(is_failure(row["state"], row["error_type"])),
            *_common(row),
        )
        outcome = (execution["workflow"], execution["version"], row["state"], row["error_type"] or "")
        self._add(("day", row["name"], started - started % DAY, *outcome), sums, sign)

    def _add(self, key: tuple[Any, ...], sums: tuple[int, ...], sign: int) -> None:
        kept = self.sums.get(key)
        if kept is None:
            kept = self.sums[key] = [0] * len(SUMS)
        for index, value in enumerate(sums):
            kept[index] += sign * value

    def apply(self, connection: Connection) -> None:
        """Add them to the figures in the database."""
        changed = {key: values for key, values in self.sums.items() if any(values)}
        rows = [dict(zip((*_KEYS, *SUMS), (*key, *values), strict=True)) for key, values in changed.items()]
        upsert(connection, rollups, rows, add=SUMS)
        counts = {key: count for key, count in self.buckets.items() if count}
        names = (*_BUCKET_KEYS, "count")
        upsert(
            connection,
            histograms,
            [dict(zip(names, (*key, count), strict=True)) for key, count in counts.items()],
            add=("count",),
        )
        _drop_empty(connection, rollups, _KEYS, (key for key, values in changed.items() if values[0] < 0))
        _drop_empty(connection, histograms, _BUCKET_KEYS, (key for key, count in counts.items() if count < 0))


def _drop_empty(
    connection: Connection, table: Table, names: tuple[str, ...], keys: Iterable[tuple[Any, ...]]
) -> None:
    rows = [{f"k_{name}": value for name, value in zip(names, key, strict=True)} for key in keys]
    if rows:
        same = [table.c[name] == bindparam(f"k_{name}") for name in names]
        connection.execute(delete(table).where(table.c.count == 0, *same), rows)


def _common(row: Mapping[str, Any]) -> tuple[int, ...]:
    spans = (row["duration_us"] or 0, row["queue_wait_us"] or 0)
    # What was never started may have ended all the same, and says nothing of durations.
    return int(row["duration_us"] is not None), *spans, row["tokens"], row["cost_micros"]
