"""Many steps at once; results in the order of the items, and of the keys."""

import asyncio
from collections import Counter, defaultdict
from functools import partial, reduce
from operator import add

from holdfast import step, workflow


@step
async def square(number: int) -> int:
    return number * number


def grouped(numbers: list[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        groups[number % 3].append(number)
    return groups


@workflow
async def squares(numbers: list[int]) -> dict[int, int]:
    unique = sorted(set(numbers))
    results = await asyncio.gather(*map(square, unique))
    counts = Counter(numbers)
    more = {key: counts[key] for key in dict.fromkeys(numbers)}
    total = partial(reduce, add)
    return {key: total(values) for key, values in grouped(results).items()} | more
