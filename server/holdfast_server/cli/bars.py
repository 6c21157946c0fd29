"""Numbers as pictures in text."""

from __future__ import annotations

import math
from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"
_SHADES = " ░▒▓█"


def bar(value: float, largest: float, width: int) -> str:
    """A bar from the left, as long as the value is large; what is not nothing is seen."""
    if value <= 0 or largest <= 0:
        return ""
    eighths = max(round(min(value / largest, 1) * width * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def sparkline(values: Sequence[float], width: int) -> str:
    """A line of columns; of more values than there is room for, several are added to one."""
    if len(values) > width:
        at_once = -(-len(values) // width)
        values = [sum(values[place : place + at_once]) for place in range(0, len(values), at_once)]
    largest = max(values, default=0)
    return "".join(
        " " if value <= 0 else _LEVELS[max(math.ceil(value / largest * len(_LEVELS)), 1) - 1]
        for value in values
    )


def shade(value: float, largest: float) -> str:
    """One of five shades; nothing is blank, and only that."""
    if value <= 0 or largest <= 0:
        return _SHADES[0]
    return _SHADES[max(math.ceil(value / largest * 4), 1)]
