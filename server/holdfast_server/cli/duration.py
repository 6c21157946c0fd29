"""Durations on the command line."""

from __future__ import annotations

import re
from datetime import timedelta

import typer

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def duration(text: str | timedelta) -> timedelta:
    """`500ms`, `30s`, `5m`, `2h`, `1d`, or several together: `1h30m`.

    Raises:
        typer.BadParameter: It is none of them.
    """
    if isinstance(text, timedelta):
        return text
    parts = _FORM.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is no duration: write 500ms, 30s, 5m, 2h, 1d or 1h30m")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} is too long") from error
