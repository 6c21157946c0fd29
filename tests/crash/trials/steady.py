"""Runs at a steady rate without a fault."""

from __future__ import annotations

import asyncio
import time

from tests.crash import work
from tests.crash.journal import Journal
from tests.crash.trials.place import Place, within
from tests.crash.verdict import Judge, Verdict

from holdfast import HoldfastError

RATE = 20
PAUSE = 0.1
"""Seconds of a run's one step."""

END_SECONDS = 1.0


async def steady(place: Place, verdict: Verdict) -> None:
    """20 runs a second for `--seconds` (default 600), each of one step of a tenth of a second."""
    seconds = place.options.seconds or 600.0
    await place.employ_many(2)
    journal = Journal(place.folder / "intents.jsonl")
    taken, late = list[float](), list[float]()
    begin = time.monotonic()

    async def one(number: int) -> None:
        run_id = f"chain-{number}"
        intent = journal.intend("start", run_id)
        began = time.monotonic()
        try:
            run = await place.client.start(work.chain, [PAUSE], id=run_id)
            journal.outcome(intent, "acknowledged")
            result = await run.result()
        except HoldfastError as error:
            verdict.say("lost", f"{run_id}: {error}")
            return
        taken.append(time.monotonic() - began)
        if result != ["0"]:
            verdict.say("result", f"{run_id} gave {result!r}")

    tasks = list[asyncio.Task[None]]()
    for number in range(int(seconds * RATE)):
        due = begin + number / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        late.append(time.monotonic() - due)
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.wait_for(asyncio.gather(*tasks), 300)
    within(verdict, "from start to end", taken, END_SECONDS, strict=not place.options.untimed)
    verdict.figures["rate"] = f"{len(taken) / (time.monotonic() - begin):.1f} a second for {seconds:.0f} s"
    if max(late) > END_SECONDS and not place.options.untimed:
        verdict.say("void", f"the trial itself fell {max(late):.1f} s behind its rate")
    judged = await Judge(
        place.client, journal, place.effects(), [], [hand.log for hand in place.hands]
    ).judge(replayed=200)
    verdict.violations += judged.violations
    verdict.figures |= judged.figures
