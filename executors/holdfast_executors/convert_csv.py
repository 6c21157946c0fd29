"""CSV (RFC 4180) to values and back."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from holdfast import InvalidInput, PayloadTooLarge
from holdfast.spec.plain import json_kind

MAX_BYTES: Final = 50 * 1024**2
"""The largest result, as JSON. Rows repeat the names of the columns, so that a small text can become a large value."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def read_csv(text: str, *, header: bool, delimiter: str) -> JsonValue:
    """The rows, every field as text.

    Args:
        text: The CSV; empty lines are left out.
        header: Whether the first row names the columns; rows are objects then, otherwise lists.
        delimiter: Between fields.

    Raises:
        InvalidInput: It is no CSV, names of columns are empty or double, or a row has another number of fields.
        PayloadTooLarge: The result would be over 50 MiB.
    """
    rows = _rows(text.removeprefix("\ufeff"), delimiter)
    names: list[str] | None = None
    if header:
        names = next((row for _, row in rows), list[str]())
        if "" in names:
            raise InvalidInput(f"column {names.index('') + 1} of the CSV has no name: set header: false")
        if len(set(names)) < len(names):
            [(twice, _)] = Counter(names).most_common(1)
            raise InvalidInput(f"the CSV has two columns of the name {twice[:100]!r}: set header: false")
    found: list[JsonValue] = []
    repeated_bytes, size_bytes = sum(len(name) + 5 for name in names or []), len(text)
    for line, row in rows:
        size_bytes += repeated_bytes + 4 * len(row)
        if size_bytes > MAX_BYTES:
            raise PayloadTooLarge(
                f"the rows of the CSV come to more than {MAX_BYTES // 1024**2} MiB at line {line}",
                size_bytes=size_bytes,
            )
        if names is not None and len(row) != len(names):
            raise InvalidInput(
                f"line {line} of the CSV has {len(row)} fields, and there are {len(names)} columns"
            )
        found.append(dict(zip(names, row, strict=True)) if names is not None else [*row])
    return found


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise InvalidInput(f"line {reader.line_num} is no CSV: {error}") from None


def write_csv(value: JsonValue, *, header: bool, delimiter: str, spreadsheet: bool) -> str:
    """Rows as CSV. Null is an empty field.

    Args:
        value: A list of objects, or of lists.
        header: Whether a first row names the columns of objects: all that occur, in the order in which they do.
        delimiter: Between fields.
        spreadsheet: Whether texts that a spreadsheet would run get an apostrophe in front.

    Raises:
        InvalidInput: It is no such list, or a field is a list or an object.
    """
    rows = value if isinstance(value, list) else [value]
    objects = [row for row in rows if isinstance(row, dict)]
    lists = [row for row in rows if isinstance(row, list)]
    if not isinstance(value, list) or max(len(objects), len(lists)) < len(rows):
        raise InvalidInput("write: csv takes a list of objects, or a list of lists")
    names = list(dict.fromkeys(name for row in objects for name in row))
    if objects and not names:
        raise InvalidInput("write: csv got objects without members, so there are no columns")
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter)
    if objects and header:
        writer.writerow([_shown(name, spreadsheet=spreadsheet) for name in names])
    for number, row in enumerate(lists or ([row.get(name) for name in names] for row in objects), start=1):
        writer.writerow([_field(field, number, spreadsheet=spreadsheet) for field in row])
    return file.getvalue()


def _field(value: JsonValue, row: int, *, spreadsheet: bool) -> str:
    if isinstance(value, dict | list):
        raise InvalidInput(f"row {row}: a field of CSV cannot hold {json_kind(value)}")
    if isinstance(value, str):
        return _shown(value, spreadsheet=spreadsheet)
    return "" if value is None else json.dumps(value)


def _shown(text: str, *, spreadsheet: bool) -> str:
    return f"'{text}" if spreadsheet and text.startswith(_FORMULA) else text
