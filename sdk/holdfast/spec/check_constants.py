"""Values that are written out, and so can be looked at before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from holdfast.errors import InvalidInput
from holdfast.spec.duration import parse_duration
from holdfast.spec.expressions import TooCostly, compile
from holdfast.spec.names import STEP_TYPE
from holdfast.spec.plain import json_kind

MAX_ITEMS: Final = 1_000_000
"""No map has more items."""

Wanted: TypeAlias = Literal["condition", "items", "value"]
"""What an expression is to give: true or false, a list or a count, or anything."""


def constant_problem(text: str, wanted: Wanted) -> str | None:
    """Why an expression without variables will always fail, if it does.

    Args:
        text: A CEL expression that compiles and names nothing.
        wanted: What it is to give.
    """
    try:
        value = compile(text).evaluate({})
    except TooCostly:
        return None  # where it runs it may take longer
    except InvalidInput as error:
        return error.message
    if wanted == "condition" and not isinstance(value, bool):
        return f"{text.strip()!r} is {json_kind(value)}; a condition is true or false"
    return _items_problem(text.strip(), value) if wanted == "items" else None


def _items_problem(text: str, value: object) -> str | None:
    if isinstance(value, list):
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        return f"{text!r} is {json_kind(value)}; a map runs over a list or a count"
    if value < 0:
        return f"{text!r} is {value:,}; a count is zero or more"
    return f"{text!r} is {value:,} items; a map has at most {MAX_ITEMS:,}" if value > MAX_ITEMS else None


def time_problems(kind: str, config: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the durations and times of a config that hold no template, by field."""
    found: dict[str, str] = {}
    for field in {"timer": ("duration", "until"), STEP_TYPE: ("heartbeat",)}.get(kind, ()):
        value: object = config.get(field)
        if value is None or (isinstance(value, str) and "{{" in value):
            continue
        try:
            if field != "until":
                parse_duration(value)
            elif isinstance(value, str):
                datetime.fromisoformat(value)
        except ValueError as error:
            found[field] = (
                str(error)
                if field != "until"
                else f"{value!r} is no time in ISO 8601, such as 2030-01-31T08:00:00Z"
            )
    return found
