"""Thousands of steps in one run, in both ways that are promised, while workers are killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

from tests.crash.trials.place import Place, beside
from tests.crash.trials.served import chained, mapped
from tests.crash.verdict import Verdict, calls_of

from holdfast import Run

WIDTH: Final = 100
"""Plain steps that run side by side in the run that continues as new."""

KILLS: Final = (0.2, 0.5, 0.8)
"""After which share of the steps a worker is killed."""

PATIENCE: Final = 7200.0


async def steps(place: Place, verdict: Verdict) -> None:
    """`map_steps` over `--count` items (default 20,000), then as many plain steps of a run that continues as new."""
    count = place.options.count or 20_000
    place.modules = ("tests.crash.work", "tests.crash.trials.served")
    await place.employ_many(2)
    async with beside(place.keep()):
        run: Run[int] = await place.client.start(mapped, count, 0.0, id="mapped")
        await _through_kills(place, verdict, run, count)
        run = await place.client.start(chained, count, 0, WIDTH, id="chained")
        await _through_kills(place, verdict, run, count)


async def _through_kills(place: Place, verdict: Verdict, run: Run[int], count: int) -> None:
    began, before, first = time.monotonic(), len(place.effects()), len(place.faults)

    async def kills() -> None:
        for share in KILLS:
            while len(place.effects()) - before < 2 * share * count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.2)
            place.kill_worker()

    async with beside(kills()), asyncio.timeout(PATIENCE):
        result = await run.result()
    taken = time.monotonic() - began
    if result != count:
        verdict.say("result", f"{run.id} gave {result!r}")
    effects = place.effects()[before:]
    begun: Counter[str] = Counter(effect.label for effect in effects if effect.phase == "start")
    keys: Counter[str] = Counter({effect.key: 1 for effect in effects})
    missing = {str(number) for number in range(count)} - begun.keys()
    if missing or len(begun) != count or len(keys) != count:
        verdict.say(
            "steps", f"{run.id}: {len(begun)} of {count} began, with {len(keys)} keys; missing {missing}"
        )
    completed = await _completed(place, run.id)
    for effect in effects:
        ended = completed.get(effect.key)
        if ended is None:
            verdict.say("steps", f"{run.id}: {effect.key} is not completed in any history")
        elif effect.phase == "start" and effect.at > ended:
            verdict.say("done again", f"{effect.key} began {effect.at - ended:.3f} s after its end")
    kills_done = sum(fault.kind == "worker SIGKILL" for fault in place.faults[first:])
    if kills_done < len(KILLS):
        verdict.say("void", f"{run.id}: {kills_done} kills came in time")
    verdict.figures[run.id] = {
        "steps completed": len(completed),
        "begun again": sum(begun.values()) - len(begun),
        "kills": kills_done,
        "seconds": round(taken),
        "steps a second": round(count / taken, 1),
    }


async def _completed(place: Place, run_id: str) -> dict[str, float]:
    """When each call completed, by its key, over all executions of the run and its children."""
    found: dict[str, float] = {}
    async for listed in place.client.temporal.list_workflows(f"WorkflowId STARTS_WITH '{run_id}'"):
        handle = place.client.temporal.get_workflow_handle(listed.id, run_id=listed.run_id)
        history = await handle.fetch_history()
        for key, call in calls_of(listed.id, history.events).items():
            if call.completed is not None and call.step in ("crash.work", "crash.piece"):
                if key in found:
                    raise AssertionError(f"{key} completed twice")
                found[key] = call.completed
    return found
