"""Sets whose order never shows."""

import asyncio

from holdfast import step, workflow


@step
async def visit(city: str) -> str:
    return city


@workflow
async def tour(cities: list[str], seen: set[str]) -> list[str]:
    todo = set(cities) - seen
    for city in sorted(todo):
        await visit(city)
    await asyncio.gather(*(visit(city) for city in sorted(todo | seen, key=len)))
    lengths = {len(city) for city in todo}
    longest = max(todo, key=len) if todo else ""
    if any(city.startswith("B") for city in todo) and all(map(str.isalpha, seen)) and "Oslo" in todo:
        seen.add(longest)
    todo = sorted(todo)
    names = [city.title() for city in todo]
    return names + sorted(city for city in seen) + [str(sum(lengths)), str(len(list(seen))) if names else ""]
