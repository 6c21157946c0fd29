"""Code that is deployed and rolled back under open runs."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.crash.build import BUILD_VARIABLE, Build
from tests.crash.driver import SHAPES, Driver
from tests.crash.journal import Journal
from tests.crash.scene import ROOT
from tests.crash.trials.place import Place
from tests.crash.verdict import Judge, Verdict

WORKERS = 2
QUIET_SECONDS = 420.0
LONGER = 4
LAST = 12
"""So many times the steps in runs in whose code something changes, so that they are in the middle at each deploy."""


async def deploys(place: Place, verdict: Verdict) -> None:
    """Old code, new code beside it, new code; back to the old for a while; then code that is wrong, and back."""
    count = place.options.count or 40
    journal = Journal(place.folder / "intents.jsonl")
    driver = Driver(place.client, journal, random.Random(place.options.seed), longest=3.0)
    await _serve(place, [Build.OLD] * WORKERS)
    await _start(place, driver, "old", count, without="extra")
    await _serve(place, [Build.OLD, Build.NEW])
    await _start(place, driver, "mixed", count)
    await asyncio.sleep(10)
    await _serve(place, [Build.NEW] * WORKERS)
    await _start(place, driver, "new", count)
    await _serve(place, [Build.OLD] * WORKERS)
    verdict.figures["stuck while rolled back"] = await _stuck(place, 15)
    await _serve(place, [Build.NEW] * WORKERS)
    verdict.figures["seconds until all went on"] = await _all_move(place, verdict, "the new code is back")

    await _start(place, driver, "checked", count // 2, longer=LAST)
    broken = await _check(place, Build.WRONG)
    verdict.figures["replay-check of the wrong code"] = f"{broken} runs would break"
    if not broken:
        verdict.say("replay-check", "it says nothing against the wrong code")
    await _start(place, driver, "last", count // 2, longer=LAST)
    await _serve(place, [Build.WRONG] * WORKERS)
    stuck = await _stuck(place, 15)
    verdict.figures["stuck with the wrong code"] = stuck
    if not stuck.get("non_determinism"):
        verdict.say("seen", f"nobody is told of runs that the wrong code broke: {stuck}")
    await _serve(place, [Build.NEW] * WORKERS)
    verdict.figures["seconds until all went on again"] = await _all_move(place, verdict, "the roll-back")
    await _judge(place, verdict, driver)


async def _serve(place: Place, builds: Sequence[Build]) -> None:
    """Replace the workers, as a deploy does: the next ones come, then those before go, whose steps may finish."""
    before, place.hands = place.hands, []
    for build in builds:
        os.environ[BUILD_VARIABLE] = build
        place.employ()
    del os.environ[BUILD_VARIABLE]
    await asyncio.gather(*(hand.serving() for hand in place.hands))
    for hand in before:
        hand.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*(asyncio.to_thread(hand.process.wait, 30) for hand in before))


async def _start(
    place: Place, driver: Driver, phase: str, count: int, *, longer: int = LONGER, without: str = ""
) -> None:
    shapes = [shape for shape in SHAPES if shape != without]
    weights = [6 if shape == "chain" else SHAPES[shape][2] for shape in shapes]
    for number in range(count):
        shape = place.dice.choices(shapes, weights)[0]
        steps = SHAPES[shape][1] * (longer if shape in ("chain", "parent", "extra") else 1)
        pauses = [round(place.dice.uniform(0.2, 3.0), 2) for _ in range(steps)]
        await driver.start(f"{shape}-{phase}-{number}", shape, pauses)
        await asyncio.sleep(0.05)


async def _stuck(place: Place, seconds: float) -> dict[str, int]:
    """For so long, look at which runs do not move. Returns how many there were, by cause."""
    causes: dict[str, str] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for run in await place.client.runs.stuck():
            causes[run.id] = run.cause
        await asyncio.sleep(1)
    return dict(Counter(causes.values()))


async def _check(place: Place, build: Build) -> int:
    """How many open runs `holdfast replay-check` says that a build would break."""
    holdfast = Path(sys.executable).with_name("holdfast")
    command = ["replay-check", "tests.crash.work", "--only", "open", "--json"]
    checking = await asyncio.create_subprocess_exec(
        holdfast, *command, "--home", str(place.home),
        cwd=ROOT, env={**os.environ, BUILD_VARIABLE: build}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await checking.communicate()
    return len(json.loads(said)["breaks"])


async def _all_move(place: Place, verdict: Verdict, since: str) -> float:
    """Wait until no run has to be mended. Returns the seconds."""
    began = time.monotonic()
    while True:
        stuck = [run for run in await place.client.runs.stuck() if run.cause in _TO_MEND]
        if not stuck:
            return round(time.monotonic() - began, 1)
        if time.monotonic() - began > QUIET_SECONDS:
            verdict.say("stuck", f"{len(stuck)} runs {QUIET_SECONDS:.0f} s after {since}, first {stuck[0]}")
            return QUIET_SECONDS
        await asyncio.sleep(1)


_TO_MEND = ("no_worker", "non_determinism", "failing")


async def _judge(place: Place, verdict: Verdict, driver: Driver) -> None:
    begun = {intent.run for intent in driver.journal.of("start")}
    until = time.monotonic() + QUIET_SECONDS
    while True:
        listed = place.client.temporal.list_workflows('ExecutionStatus = "Running"')
        still = sorted({run.id async for run in listed} & begun)
        if not still or time.monotonic() > until:
            break
        await driver.finish(still)
        await asyncio.sleep(2)
    for run in still:
        verdict.say("stuck", f"{run}: {(await place.client.get(run).describe()).waiting_for}")
    logs = [hand.log for hand in place.all_hands]
    found = await Judge(place.client, driver.journal, place.effects(), place.faults, logs).judge()
    verdict.violations += found.violations
    verdict.figures |= found.figures
