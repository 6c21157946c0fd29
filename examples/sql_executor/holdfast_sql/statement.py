"""What a statement may be."""

from __future__ import annotations

import re
from typing import Final

_COMMENTS: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_READING: Final = ("select", "with", "values", "explain", "show", "table")
_KEY: Final = re.compile(r"(?<![:\w]):idempotency_key\b")


def refusal(statement: str, *, write: bool) -> str | None:
    """Why a statement is not carried out; None if it may be. The database itself keeps reading statements from writing;
    this names what it would not understand as one statement."""
    bare = _COMMENTS.sub(" ", statement).strip().removesuffix(";")
    if ";" in bare:
        return "statement: one statement at a time, and no ';' in it: a text that holds one is a parameter"
    word = bare.split(None, 1)[0].lower() if bare.strip() else ""
    if not word:
        return "statement: it is empty"
    if not write and word not in _READING:
        return f"statement: {word!r} may change something: set write: true"
    return None


def idempotency_key_in(statement: str) -> bool:
    """Whether a statement names the call's key."""
    return _KEY.search(statement) is not None
