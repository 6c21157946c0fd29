"""What steps have logged, kept with their runs: a row holds the lines that a worker had at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select

from holdfast.store.columns import instant
from holdfast.store.database import Database
from holdfast.store.schema import step_logs


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Whose lines they are."""

    run_id: str
    execution_id: str
    activity_id: str
    step: str
    attempt: int
    worker: str


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Lines of one attempt."""

    of: Attempt
    first_line: int
    """The number of the first of these lines, from 0. What is missing before it was cut off."""
    lines: Sequence[Sequence[Any]]
    """Each: microseconds since 1970, level, logger, message."""
    oldest_kept: int = 0
    """Rows of the attempt that end before this line are deleted."""


def add_step_logs(database: Database, chunks: Sequence[Chunk]) -> None:
    """Keep lines.

    Raises:
        Unavailable: The database does not answer; none of them is kept.
    """
    rows: list[dict[str, Any]] = [
        {
            **vars(chunk.of),
            "first_line": chunk.first_line,
            "line_count": len(chunk.lines),
            "at": instant(chunk.lines[-1][0]),
            "lines": list(chunk.lines),
        }
        for chunk in chunks
        if chunk.lines
    ]
    table = step_logs.c
    with database.write() as connection:
        if rows:
            connection.execute(insert(step_logs), rows)
        for chunk in chunks:
            if chunk.oldest_kept:
                connection.execute(
                    delete(step_logs).where(
                        table.run_id == chunk.of.run_id,
                        table.execution_id == chunk.of.execution_id,
                        table.activity_id == chunk.of.activity_id,
                        table.attempt == chunk.of.attempt,
                        table.first_line + table.line_count <= chunk.oldest_kept,
                    )
                )


@dataclass(frozen=True, kw_only=True)
class StoredLines:
    """One row."""

    id: int
    step: str
    attempt: int
    worker: str
    activity_id: str
    execution_id: str
    first_line: int
    lines: Sequence[tuple[datetime, str, str, str]]


def read_step_logs(
    database: Database, run_id: str, *, step: str | None = None, after: int = 0
) -> list[StoredLines]:
    """The lines of a run's steps, in the order in which they were written down.

    Args:
        database: Where.
        run_id: The run.
        step: Only of this step.
        after: Only rows after the one of this id.

    Raises:
        Unavailable: The database does not answer.
    """
    query = select(step_logs).where(step_logs.c.run_id == run_id, step_logs.c.id > after)
    if step is not None:
        query = query.where(step_logs.c.step == step)
    with database.read() as connection:
        return [_stored(row) for row in connection.execute(query.order_by(step_logs.c.id)).mappings()]


def _stored(row: RowMapping) -> StoredLines:
    return StoredLines(
        lines=[(instant(at), level, logger, message) for at, level, logger, message in row["lines"]],
        **{name: row[name] for name in StoredLines.__dataclass_fields__ if name != "lines"},
    )
