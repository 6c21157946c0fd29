"""State that queries read."""

from dataclasses import dataclass, field

from holdfast import set_state, step, workflow


@dataclass
class Progress:
    done: list[str] = field(default_factory=list)
    left: int = 0


@step
async def visit(city: str) -> str:
    return city


@workflow
async def tour(cities: list[str]) -> list[str]:
    progress = Progress(left=len(cities))
    for city in cities:
        set_state(progress)
        progress.done.append(await visit(city))
        progress.left -= 1
    return progress.done


@tour.query
def remaining(state: Progress) -> int:
    return state.left
