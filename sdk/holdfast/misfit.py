"""The error for a value that does not fit its type."""

from __future__ import annotations

from collections.abc import Callable

from pydantic_core import ValidationError

from holdfast.errors import InvalidInput

_SHOWN_ERRORS = 3
_SHOWN_CHARACTERS = 80


def invalid(error: ValidationError, where: str, *, redact: Callable[[str], str] = str) -> InvalidInput:
    """The error for a value that does not fit its type, with the first few paths and values.

    Args:
        error: What pydantic found.
        where: What the value is: "Argument 'rows' of step 'load'".
        redact: Takes secrets out of what is shown.
    """
    problems = error.errors(include_url=False, include_context=False)
    lines: list[str] = []
    for problem in problems[:_SHOWN_ERRORS]:
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        shown = redact(repr(problem["input"]))  # whole: half a secret would not be found
        if len(shown) > _SHOWN_CHARACTERS:
            shown = f"{shown[:_SHOWN_CHARACTERS]}..."
        hint = (
            " (NaN and infinity become null)"
            if problem["input"] is None and problem["type"] == "float_type"
            else ""
        )
        said = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{path.lstrip('.') or 'the value itself'}: {said}, got {shown}{hint}")
    more = f"; and {len(problems) - _SHOWN_ERRORS} more" if len(problems) > _SHOWN_ERRORS else ""
    # A JSON Schema has no name: pydantic shows the function that checks it.
    of_type = "schema" if error.title.startswith("function-") else f"declared type {error.title}"
    return InvalidInput(
        redact(f"{where} does not fit its {of_type}: {'; '.join(lines)}{more}"),
        error_count=len(problems),
    )
