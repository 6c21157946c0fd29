"""Quantiles from counts in buckets whose bounds grow by a factor, so that each bucket stands for its values within 2 %.

The idea is DDSketch's (Masson, Rim, Lee, VLDB 2019): buckets of several hours or workflows are added, and nothing is
lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

ERROR: Final = 0.02
"""How far a quantile may be from the value that it stands for, relative to it."""

_GAMMA: Final = (1 + ERROR) / (1 - ERROR)
_LOG_GAMMA: Final = math.log(_GAMMA)


def bucket(value: int) -> int:
    """The bucket of a number; 0 for 0 and what is below."""
    return max(math.ceil(math.log(value) / _LOG_GAMMA), 0) + 1 if value > 0 else 0


def middle(number: int) -> int:
    """What a bucket's values are taken for."""
    return round(2 * _GAMMA ** (number - 1) / (_GAMMA + 1)) if number > 0 else 0


def rank(quantile: float, count: int) -> int:
    """Which of `count` sorted values a quantile is, from 0: the smallest that has so large a part at or below it."""
    return max(math.ceil(quantile * count) - 1, 0)


def from_buckets(counts: Mapping[int, int], wanted: Iterable[float]) -> list[int | None]:
    """Quantiles from counts by bucket, `None` where there is nothing."""
    numbers = sorted(number for number, count in counts.items() if count > 0)
    total = sum(counts[number] for number in numbers)
    return [_at(numbers, counts, rank(quantile, total)) if total else None for quantile in wanted]


def from_values(values: Sequence[int], wanted: Iterable[float]) -> list[int | None]:
    """Quantiles of values, exact."""
    ordered = sorted(values)
    return [ordered[rank(quantile, len(ordered))] if ordered else None for quantile in wanted]


def _at(numbers: Sequence[int], counts: Mapping[int, int], place: int) -> int:
    for number in numbers:
        place -= counts[number]
        if place < 0:
            return middle(number)
    return middle(numbers[-1])
