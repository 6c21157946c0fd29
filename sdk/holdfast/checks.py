"""What options refuse, whatever they are for."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from holdfast.errors import InvalidConfiguration


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
