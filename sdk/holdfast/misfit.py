"""The error for a value that does not fit its type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import ValidationError

from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SHOWN_ERRORS = 3
_SHOWN_CHARACTERS = 80


def invalid(
    error: ValidationError,
    where: str,
    *,
    redact: Callable[[str], str] = str,
    schema: Mapping[str, Any] | None = None,
    value: object = None,
) -> InvalidInput:
    """The error for a value that does not fit its type, with the first few paths and values.

    Args:
        error: What pydantic found.
        where: What the value is: "Argument 'rows' of step 'load'".
        redact: Takes secrets out of what is shown.
        schema: The JSON Schema of the type. With it, what is no member of a union is told once, not for each member.
        value: What was checked, as plain JSON; for `schema`.
    """
    problems = misfits(error, redact=redact, schema=schema, value=value)
    more = f"; and {len(problems) - _SHOWN_ERRORS} more" if len(problems) > _SHOWN_ERRORS else ""
    # A JSON Schema has no name: pydantic shows the function that checks it.
    of_type = "schema" if error.title.startswith("function-") else f"declared type {error.title}"
    return InvalidInput(
        redact(f"{where} does not fit its {of_type}: {'; '.join(problems[:_SHOWN_ERRORS])}{more}"),
        error_count=len(problems),
    )


def misfits(
    error: ValidationError,
    *,
    redact: Callable[[str], str] = str,
    schema: Mapping[str, Any] | None = None,
    value: object = None,
) -> list[str]:
    """What is wrong with a value, a sentence for each place; arguments as for `invalid`."""

    def shown(given: str) -> str:
        text = redact(given)  # whole: half a secret would not be found
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."

    found = error.errors(include_url=False, include_context=False)
    told: list[str] = []
    for path, sentences in _clashes(
        schema, value, lambda given: shown(json.dumps(given, ensure_ascii=False))
    ):
        inside = [problem for problem in found if list(problem["loc"][: len(path)]) == list(path)]
        # What a validator says of a value is about just that value.
        if inside and not any(problem["type"] == "value_error" for problem in inside):
            found = [problem for problem in found if problem not in inside]
            told += sentences
    return told + [_told(problem, shown) for problem in found]


def _clashes(
    schema: Mapping[str, Any] | None, value: object, shown: Callable[[object], str]
) -> list[tuple[Sequence[str | int], list[str]]]:
    if schema is None:
        return []
    from holdfast.spec.schema_words import clashes

    return [
        (path, [f"{_place(below)}: {message}" for message, below in problems])
        for path, problems in clashes(schema, value, shown)
    ]


def _told(problem: ErrorDetails, shown: Callable[[str], str]) -> str:
    given = problem["input"]
    hint = " (NaN and infinity become null)" if given is None and problem["type"] == "float_type" else ""
    said = problem["msg"].removeprefix("Value error, ")
    return f"{_place(problem['loc'])}: {said}, got {shown(repr(given))}{hint}"


def _place(path: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the value itself"
