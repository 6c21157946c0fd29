"""What a JSON value inside a document may be: finite, not too deep, and the same in every language that reads it."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, JsonValue

MAX_DEPTH: Final = 64
"""Lists and objects in a document are nested at most this deep."""

MAX_INT: Final = 2**63 - 1
"""Whole numbers lie between -2^63 and this, the range of CEL's `int`."""

_MAX_SHOWN: Final = 60


def problem(value: Any) -> str | None:
    """Why a scalar may not be in a document, or None."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            return f"{value!r} holds half of a surrogate pair, which is no character"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return f"{value!r} is not a number that JSON knows"
    elif isinstance(value, int) and not -MAX_INT - 1 <= value <= MAX_INT:
        return "a whole number lies between -2^63 and 2^63-1; write larger ones as strings"
    return None


def check_plain(value: Any) -> Any:
    """The value itself, if all of it may be in a document.

    Raises:
        ValueError: A number or a string may not, or it is nested too deep.
    """
    level: list[JsonValue] = [value]
    depth = 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(f"lists and objects are nested more than {MAX_DEPTH} deep")
        inner: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                if reason := next(filter(None, map(problem, item)), None):
                    raise ValueError(reason)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif reason := problem(item):
                raise ValueError(reason)
        level, depth = inner, depth + 1
    return value


JsonObject: TypeAlias = Annotated[dict[str, JsonValue], AfterValidator(check_plain)]
"""A JSON object that is finite and not too deep."""


def json_kind(value: object) -> str:
    """What JSON calls a value: null, true or false, a number, text, a list or an object."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value!r}"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a value of type {type(value).__name__!r}"


def json_shown(value: object) -> str:
    """A value as JSON writes it, or its kind where that is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return json_kind(value)
    if len(text) <= _MAX_SHOWN:
        return text
    return f"{text[:_MAX_SHOWN]}..." if isinstance(value, str) else json_kind(value)
