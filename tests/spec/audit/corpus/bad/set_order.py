"""All the ways in which the order of a set gets out."""

import asyncio
from collections.abc import Set

from holdfast import step, workflow


@step
async def visit(city: str) -> str:
    return city


def both(first: dict[str, int], second: dict[str, int]) -> list[str]:
    return list(first.keys() & second.keys())  # expect: HF-A026


def named() -> frozenset[str]:
    return frozenset({"Bergen"})


@workflow
async def tour(cities: list[str], extra: Set[str]) -> list[str]:
    todo = set(cities) | {"Oslo"}
    for city in todo:  # expect: HF-A026
        await visit(city)
    await asyncio.gather(*(visit(city) for city in extra))  # expect: HF-A026
    await asyncio.gather(*map(visit, todo))  # expect: HF-A026
    first, *_ = todo - extra  # expect: HF-A026
    last = todo.pop()  # expect: HF-A026
    text = ", ".join({city.title() for city in cities})  # expect: HF-A026
    numbered = [f"{index} {city}" for index, city in enumerate(extra)]  # expect: HF-A026
    by_name = {city: len(city) for city in todo.union(extra)}  # expect: HF-A026
    results = sorted([await visit(city) for city in todo])  # expect: HF-A026
    one = next(iter(named()))  # expect: HF-A026
    return [*todo, first, last, text, *numbered, *by_name, *results, one, *both({}, {})]  # expect: HF-A026
