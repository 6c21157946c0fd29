"""What options and arguments refuse, whatever they are for."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final, TypeVar, cast

from holdfast.errors import HoldfastError, InvalidConfiguration, InvalidInput

Text = TypeVar("Text", str, str | None)

_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")
_NOT_IN_QUERIES: Final = re.compile(r"[\"'\\\n]")


def check_text(name: str, value: Text, *, error: type[HoldfastError] = InvalidInput) -> Text:
    """A text that can be sent and kept: every id, name and note that enters goes through here.

    Raises:
        InvalidInput, or `error`: It is no text, or holds a NUL or half of a surrogate pair.
    """
    if value is None:
        return value
    if not isinstance(cast("object", value), str):
        raise error(f"{name}={value!r:.100} is no text")
    if found := _NO_TEXT.search(value):
        odd = "NUL" if found[0] == "\x00" else "half of a surrogate pair, which is no character"
        raise error(f"{name}={value[:100]!r} holds {odd}")
    return value


def check_name(name: str, value: str, *, error: type[HoldfastError] = InvalidInput) -> str:
    """As `check_text`, of what is looked for or found by it.

    Raises:
        InvalidInput, or `error`: As `check_text`, or it is empty.
    """
    if not check_text(name, value, error=error):
        raise error(f"{name}={value!r}: give a name")
    return value


def check_literal(name: str, value: str) -> str:
    """As `check_name`, of what is written into a query of Temporal, which cannot escape everything.

    Raises:
        InvalidInput: As `check_name`, or it holds quotes, a backslash or a line break.
    """
    if _NOT_IN_QUERIES.search(check_name(name, value)):
        raise InvalidInput(f"{name}={value[:100]!r} holds quotes, a backslash or a line break")
    return value


def check_duration(name: str, value: object) -> None:
    """Refuse what is no duration, such as a bare number of seconds.

    Raises:
        InvalidConfiguration: It is none, or not longer than zero.
    """
    if value is None:
        return
    if not isinstance(value, timedelta):
        raise InvalidConfiguration(f"{name}={value!r}: write timedelta(seconds={value!r})")
    if value <= timedelta(0):
        raise InvalidConfiguration(f"{name}={value!r}: a duration is longer than zero")


def check_made(name: str, value: object, kind: type[object]) -> None:
    """Refuse what was to be an object of options and is something else, such as a plain dictionary.

    Raises:
        InvalidConfiguration: It is something else; the message shows how to write it.
    """
    if isinstance(value, kind):
        return
    given = cast("dict[object, object]", value).items() if isinstance(value, dict) else ()
    fields = ", ".join(f"{field}={item!r}" for field, item in given) or "..."
    raise InvalidConfiguration(f"{name} = {value!r:.200}: write {kind.__name__}({fields:.200})")
