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
    await asyncio.sleep(4)
    await _serve(place, [Build.OLD] * WORKERS)
    verdict.figures["stuck while rolled back"] = await _stuck(place, 15)
    await _serve(place, [Build.NEW] * WORKERS)
    verdict.figures["seconds until all went on"] = await _all_move(place, verdict, "the new code is back")

    await _start(place, driver, "last", count)
    await asyncio.sleep(3)
    broken = await _check(place, Build.WRONG)
    verdict.figures["replay-check of the wrong code"] = f"{broken} runs would break"
    if not broken:
        verdict.say("replay-check", "it says nothing against the wrong code")
    await _serve(place, [Build.WRONG] * WORKERS)
    stuck = await _stuck(place, 15)
    verdict.figures["stuck with the wrong code"] = stuck
    if not stuck.get("non_determinism"):
        verdict.say("seen", f"nobody is told of runs that the wrong code broke: {stuck}")
    await _serve(place, [Build.NEW] * WORKERS)
    verdict.figures["seconds until all went on again"] = await _all_move(place, verdict, "the roll-back")
    await _judge(place, verdict, driver)


async def _serve(place: Place, builds: Sequence[Build]) -> None:
    """Replace the workers one after the other, as a deploy does: the next comes, then one goes, which may finish."""
    for build in builds:
        os.environ[BUILD_VARIABLE] = build
        hand = place.employ()
        del os.environ[BUILD_VARIABLE]
        await hand.serving()
        if len(place.hands) > len(builds):
            old = place.hands.pop(0)
            old.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(old.process.wait, 30)


async def _start(place: Place, driver: Driver, phase: str, count: int, *, without: str = "") -> None:
    shapes = [shape for shape in SHAPES if shape != without]
    weights = [6 if shape == "chain" else SHAPES[shape][2] for shape in shapes]
    for number in range(count):
        shape = place.dice.choices(shapes, weights)[0]
        pauses = [round(place.dice.uniform(0.2, 3.0), 2) for _ in range(SHAPES[shape][1])]
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
