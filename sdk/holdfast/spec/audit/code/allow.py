"""Comments that allow what a rule forbids on one line: `# holdfast: allow HF-A022 reads a file that never changes`."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_COMMENT: Final = re.compile(r"#\s*holdfast:\s*allow\b(?P<rest>[^#]*)")
_CODES: Final = re.compile(r"(?:[\s,]*HF-A\d{3}\b)*")
_CODE: Final = re.compile(r"HF-A\d{3}")


@dataclass
class Allowance:
    """One such comment."""

    line: int
    column: int
    codes: tuple[str, ...]
    reason: str
    used: set[str] = field(default_factory=set[str])
    """Those of its codes that something was found for."""


def allowances(text: str) -> dict[int, Allowance]:
    """The comments of a file that compiles, by line."""
    if "holdfast:" not in text:  # reading tokens takes ten times as long as this
        return {}
    return {allowance.line: allowance for allowance in _read(text)}


def _read(text: str) -> Iterator[Allowance]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (found := _COMMENT.search(token.string)):
            rest = found["rest"]
            listed = _CODES.match(rest)
            end = listed.end() if listed else 0
            codes = tuple(_CODE.findall(rest[:end]))
            line, column = token.start
            yield Allowance(line, column + found.start() + 1, codes, rest[end:].strip(" \t,:-"))
