"""Thousands of runs that are open at once and wait: does everything answer meanwhile, and do all finish?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from tests.crash.trials.place import Place, spread, timed, within
from tests.crash.trials.served import waits
from tests.crash.verdict import Verdict

from holdfast import RunState
from holdfast.errors import NotFound

SAMPLES: Final = 40
ANSWER_SECONDS: Final = 1.0
AT_ONCE: Final = 20
CAUGHT_UP_SECONDS: Final = 900.0


async def open_runs(place: Place, verdict: Verdict) -> None:
    """Opens `--count` runs (default 10,000), calls while they are open, then sends to all."""
    count = place.options.count or 10_000
    place.modules = ("tests.crash.trials.served",)
    await place.employ_many(2)
    client = place.client
    began = time.monotonic()
    runs = [f"open-{number}" for number in range(count)]

    async def start(run_id: str) -> None:
        await client.start(waits, int(run_id.split("-")[1]), id=run_id)

    opened = await _all(runs, start)
    verdict.figures["opened"] = f"{count} in {time.monotonic() - began:.0f} s; a start took {spread(opened)}"
    answers: dict[str, list[float]] = {"start": [], "list": [], "search": [], "cancel": [], "describe": []}
    strict = not place.options.untimed
    for number in range(SAMPLES):
        extra = f"extra-{number}"
        answers["start"].append(await timed(client.start(waits, 0, id=extra)))
        answers["list"].append(await timed(_listed(place)))
        answers["search"].append(await timed(client.runs.search(limit=50)))
        picked = client.get(place.dice.choice(runs), waits)
        answers["describe"].append(await timed(picked.describe()))
        answers["cancel"].append(await timed(client.get(extra, waits).cancel()))
    for name, seconds in answers.items():
        within(verdict, f"{name}, while {count} are open", seconds, ANSWER_SECONDS, strict=strict)
    verdict.figures["history behind, while they are open"] = str(await client.runs.lag())
    await _looks(place, verdict, count)
    for number in range(SAMPLES):
        state = await _ended(place, f"extra-{number}")
        if state is not RunState.CANCELLED:
            verdict.say("end", f"extra-{number} was cancelled and is {state.value}")
    began = time.monotonic()
    sent = await _all(runs, lambda run_id: client.get(run_id).send("go", 1))
    verdict.figures["sent to all"] = f"in {time.monotonic() - began:.0f} s; one took {spread(sent)}"
    results = dict.fromkeys(runs, 0)

    async def result(run_id: str) -> None:
        results[run_id] = await client.get(run_id, waits).result()

    await _all(runs, result)
    verdict.figures["all finished"] = f"{time.monotonic() - began:.0f} s after the first message"
    wrong = [run_id for number, run_id in enumerate(runs) if results[run_id] != number + 1]
    if wrong:
        verdict.say("result", f"{len(wrong)} runs gave another result, {wrong[0]} {results[wrong[0]]!r}")
    await _stored(place, verdict, count)


async def _listed(place: Place) -> None:
    assert len(await place.client.runs.list(limit=50)) == 50


async def _looks(place: Place, verdict: Verdict, count: int) -> None:
    """How soon the history knows of what ends while so many are open."""
    taken = list[float]()
    for number in range(10):
        run = await place.client.start(waits, 0, id=f"seen-{number}")
        await run.send("go", 1)
        await run.result()
        taken.append(await timed(_known(place, run.id)))
    verdict.figures[f"an end is in the history, while {count} are open, after"] = spread(taken)


async def _known(place: Place, run_id: str) -> None:
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(NotFound):
                if (await place.client.runs.stored(run_id)).state is RunState.COMPLETED:
                    return
            await asyncio.sleep(0.1)


async def _ended(place: Place, run_id: str) -> RunState:
    run = place.client.get(run_id, waits)
    async with asyncio.timeout(60):
        while not (state := await run.status()).closed:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.2)
    return state


async def _stored(place: Place, verdict: Verdict, count: int) -> None:
    """How long the history needs for them all."""
    began, completed = time.monotonic(), 0
    while completed < count and time.monotonic() - began < CAUGHT_UP_SECONDS:
        await asyncio.sleep(1)
        facets = await place.client.runs.facets("state")
        completed = next((facet.count for facet in facets if facet.value == "completed"), 0)
    lag = await place.client.runs.lag()
    verdict.figures["in the history"] = (
        f"{completed} completed, {time.monotonic() - began:.0f} s after the last result; behind by {lag}"
    )
    if completed < count:
        verdict.say("store", f"{completed} of {count} are completed in the history")


async def _all(runs: Iterable[str], call: Callable[[str], Awaitable[object]]) -> list[float]:
    gate, taken = asyncio.Semaphore(AT_ONCE), list[float]()

    async def one(run_id: str) -> None:
        async with gate:
            taken.append(await timed(call(run_id)))

    await asyncio.gather(*map(one, runs))
    return taken
