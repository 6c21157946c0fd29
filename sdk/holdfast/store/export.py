"""Runs as CSV, JSON or NDJSON, piece by piece: as much memory for a million as for a thousand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from holdfast.store.database import Database
from holdfast.store.filters import RunFilter
from holdfast.store.runs import MAX_PAGE, StoredRun, list_runs

Format: TypeAlias = Literal["csv", "json", "ndjson"]

COLUMNS: Final = tuple(entry.name for entry in fields(StoredRun) if entry.name != "key")

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - spreadsheets take wide ones too


def export_runs(database: Database, chosen: RunFilter, form: Format = "csv") -> Iterator[str]:
    """The runs that fit a filter, newest first. No transaction is held open in between: runs that start meanwhile are
    not in it, and those that change are told as they are when their turn comes.

    Args:
        database: Where from.
        chosen: Which runs.
        form: `csv`, with a header; `json`, one list; `ndjson`, one object per line. Times in ISO 8601, spans in
            microseconds.

    Yields:
        Pieces of text, up to some hundred kilobytes each.

    Raises:
        Unavailable: The database does not answer.
    """
    writers: dict[Format, Callable[[Iterable[Sequence[StoredRun]]], Iterator[str]]] = {
        "csv": _csv,
        "json": _json,
        "ndjson": _ndjson,
    }
    return writers[form](_pages(database, chosen))


def cell(value: Any) -> str:
    """A value as a cell of CSV: what a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, str):
        # NUL ends a cell for some readers, and lone surrogates cannot be encoded.
        text = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
        return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _pages(database: Database, chosen: RunFilter) -> Iterator[Sequence[StoredRun]]:
    after: str | None = None
    while True:
        page = list_runs(database, chosen, limit=MAX_PAGE, after=after)
        yield page.runs
        if (after := page.next) is None:
            return


def _csv(pages: Iterable[Sequence[StoredRun]]) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\r\n"
    for page in pages:
        out = io.StringIO(newline="")
        csv.writer(out).writerows([cell(getattr(run, name)) for name in COLUMNS] for run in page)
        yield out.getvalue()


def _json(pages: Iterable[Sequence[StoredRun]]) -> Iterator[str]:
    before = "["
    for page in pages:
        for run in page:
            yield before + "\n" + _object(run)
            before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _ndjson(pages: Iterable[Sequence[StoredRun]]) -> Iterator[str]:
    for page in pages:
        yield "".join(_object(run) + "\n" for run in page)


def _object(run: StoredRun) -> str:
    return json.dumps({name: _plain(value) for name, value in asdict(run).items() if name != "key"})


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
