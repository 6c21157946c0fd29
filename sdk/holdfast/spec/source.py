"""Where in a document's text something stands, and the error that says so."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from holdfast.errors import InvalidInput

Path: TypeAlias = tuple[str | int, ...]
"""Keys and positions from the top of a document: `("nodes", 3, "config", "url")`."""

Place: TypeAlias = tuple[int, int]
"""Line and column, both from 1."""

_TOKEN: Final = re.compile(
    r'[ \t\n\r]*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*")|([^ \t\n\r{}\[\],:"]+)|(.))', re.DOTALL
)


def path_text(path: Sequence[str | int]) -> str:
    """`nodes[3].config.url`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def refusal(message: str, place: Place | None = None, **details: object) -> InvalidInput:
    """The error for a document that cannot be read."""
    if place is None:
        return InvalidInput(message, **details)
    line, column = place
    return InvalidInput(f"line {line}, column {column}: {message}", line=line, column=column, **details)


def place_at(text: str, offset: int) -> Place:
    """The line and column of a position in a text."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


class Token(NamedTuple):
    """A key, a value, or the start of a container (`{`, `[`) in JSON."""

    path: Path
    """Where it is; a key has the path of its value."""
    offset: int
    text: str
    is_key: bool


def json_tokens(text: str) -> Iterator[Token]:
    """Each key, value and container of a JSON text, as far as it can be followed."""
    path: list[str | int] = []
    in_object: list[bool] = []
    expect_key = False
    for match in _TOKEN.finditer(text):
        mark, string, word, wrong = match.groups()
        offset = match.end() - len(mark or string or word or wrong or "")
        if mark == ",":
            if in_object and in_object[-1]:
                path.pop()
                expect_key = True
            elif path and isinstance(position := path[-1], int):
                path[-1] = position + 1
        elif mark in ("{", "["):
            yield Token(tuple(path), offset, mark, False)
            in_object.append(mark == "{")
            expect_key = mark == "{"
            if mark == "[":
                path.append(0)
        elif mark in ("}", "]"):
            if not in_object:
                return
            if not (in_object.pop() and expect_key):  # an empty object has put no key on the path
                path.pop()
            expect_key = False
        elif string and expect_key:
            try:
                path.append(str(json.loads(string, strict=False)))
            except ValueError:
                return
            expect_key = False
            yield Token(tuple(path), offset, string, True)
        elif string or word:
            yield Token(tuple(path), offset, string or word, False)
        elif wrong:
            return


def json_places(text: str) -> dict[Path, Place]:
    """Where each key, or each item of a list, stands in JSON."""
    found: dict[Path, int] = {}
    for token in json_tokens(text):
        found.setdefault(token.path, token.offset)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    lines = {path: bisect.bisect_right(starts, offset) for path, offset in found.items()}
    return {path: (line, found[path] - starts[line - 1] + 1) for path, line in lines.items()}


def nearest(places: Mapping[Path, Place], path: Sequence[str | int]) -> Place | None:
    """The place of a path, or of the closest thing around it."""
    for end in range(len(path), -1, -1):
        if (place := places.get(tuple(path[:end]))) is not None:
            return place
    return None
