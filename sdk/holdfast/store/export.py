"""Runs and steps as CSV, JSON or NDJSON, piece by piece: as much memory for a million as for a thousand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, func, select, tuple_

from holdfast.run_filter import RunFilter
from holdfast.store.database import Database
from holdfast.store.runs import MAX_PAGE, StoredRun, StoredStep, list_runs
from holdfast.store.schema import executions, runs, steps

Format: TypeAlias = Literal["csv", "json", "ndjson"]
What: TypeAlias = Literal["runs", "steps"]
Rows: TypeAlias = Iterable[Sequence[Sequence[Any]]]

RUN_COLUMNS: Final = tuple(entry.name for entry in fields(StoredRun) if entry.name != "key")
_NOT_OF_STEPS: Final = ("input", "result", "failures")
STEP_COLUMNS: Final = (
    "run_id", "workflow", "version",
    *(entry.name for entry in fields(StoredStep) if entry.name not in _NOT_OF_STEPS),
)  # fmt: skip
STEPS_AT_A_TIME: Final = 2000

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - spreadsheets take wide ones too


def export(
    database: Database,
    chosen: RunFilter,
    form: Format = "csv",
    what: What = "runs",
    *,
    show: Callable[[int], None] | None = None,
) -> Iterator[str]:
    """The runs that fit a filter, or the steps of all their stored executions, newest run first. No transaction is held
    open in between: runs that start meanwhile are not in it, and those that change are told as they are when their turn
    comes.

    Args:
        database: Where from.
        chosen: Which runs.
        form: `csv`, with a header; `json`, one list; `ndjson`, one object per line. Times in ISO 8601, spans in
            microseconds.
        what: `runs` or `steps`.
        show: Called with the number of runs that are done.

    Yields:
        Pieces of text, up to some hundred kilobytes each.

    Raises:
        Unavailable: The database does not answer.
    """
    writers: dict[Format, Callable[[Sequence[str], Rows], Iterator[str]]] = {
        "csv": _csv,
        "json": _json,
        "ndjson": _ndjson,
    }
    pages = _run_pages(database, chosen, show or (lambda _: None))
    if what == "runs":
        return writers[form](RUN_COLUMNS, ([_of_run(run) for run in page] for page in pages))
    return writers[form](STEP_COLUMNS, _step_pages(database, pages))


def cell(value: Any) -> str:
    """A value as a cell of CSV: what a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, str):
        # NUL ends a cell for some readers, and lone surrogates cannot be encoded.
        text = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
        return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
    if type(value) is int:
        return str(value)
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _run_pages(
    database: Database, chosen: RunFilter, show: Callable[[int], None]
) -> Iterator[Sequence[StoredRun]]:
    after, done = None, 0
    while True:
        page = list_runs(database, chosen, limit=MAX_PAGE, after=after)
        yield page.runs
        done += len(page.runs)
        show(done)
        if (after := page.next) is None:
            return


def _of_run(run: StoredRun) -> Sequence[Any]:
    return [getattr(run, name) for name in RUN_COLUMNS]


def _step_pages(database: Database, pages: Iterable[Sequence[StoredRun]]) -> Rows:
    for page in pages:
        with database.read() as connection:
            counts = _step_counts(connection, [run.key for run in page])
        for keys in _together([run.key for run in page if run.key in counts], counts):
            yield from _steps_of(database, keys)


def _step_counts(connection: Connection, keys: Sequence[int]) -> dict[int, int]:
    query = select(steps.c.run_key, func.count()).where(steps.c.run_key.in_(keys)).group_by(steps.c.run_key)
    return {key: int(count) for key, count in connection.execute(query)}


def _together(keys: Sequence[int], counts: dict[int, int]) -> Iterator[list[int]]:
    """Runs that have few steps are read together, those with many alone."""
    group: list[int] = []
    size = 0
    for key in keys:
        if group and size + counts[key] > STEPS_AT_A_TIME:
            yield group
            group, size = [], 0
        group.append(key)
        size += counts[key]
    if group:
        yield group


def _steps_of(database: Database, keys: Sequence[int]) -> Rows:
    place = (steps.c.execution_key, steps.c.position)
    shown = (runs.c.id, executions.c.workflow, executions.c.version, executions.c.execution_id)
    named = dict(zip(("run_id", "workflow", "version", "execution_id"), shown, strict=True))
    columns = [named[name] if name in named else steps.c[name] for name in STEP_COLUMNS]
    query = select(*columns, *place).where(steps.c.run_key.in_(keys))
    query = query.join_from(steps, runs, runs.c.key == steps.c.run_key)
    query = query.join(executions, executions.c.key == steps.c.execution_key)
    query = query.order_by(steps.c.run_key.desc(), *place).limit(STEPS_AT_A_TIME if len(keys) == 1 else None)
    after: Sequence[Any] | None = None
    while True:
        page = query if after is None else query.where(tuple_(*place) > tuple_(*after))
        with database.read() as connection:
            rows = connection.execute(page).all()
        yield [row[: len(STEP_COLUMNS)] for row in rows]
        if len(keys) > 1 or len(rows) < STEPS_AT_A_TIME:
            return
        after = rows[-1][len(STEP_COLUMNS) :]


def _csv(names: Sequence[str], pages: Rows) -> Iterator[str]:
    yield ",".join(names) + "\r\n"
    for page in pages:
        out = io.StringIO(newline="")
        csv.writer(out).writerows([cell(value) for value in row] for row in page)
        yield out.getvalue()


def _json(names: Sequence[str], pages: Rows) -> Iterator[str]:
    before = "["
    for page in pages:
        if page:
            yield before + ",".join("\n" + _object(names, row) for row in page)
            before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _ndjson(names: Sequence[str], pages: Rows) -> Iterator[str]:
    for page in pages:
        yield "".join(_object(names, row) + "\n" for row in page)


def _object(names: Sequence[str], row: Sequence[Any]) -> str:
    return json.dumps({name: _plain(value) for name, value in zip(names, row, strict=True)})


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
