"""The harness: runs of several shapes on the real stack, whose processes are killed all the time; then the verdict.

    python -m tests.crash [--runs 400] [--rate 6] [--kills 20] [--seed S] [--longest 5] [--folder DIR]
    python -m tests.crash --minutes 10 --rate 5        a soak: as long as that

Four records that know nothing of each other: what was meant (on the disk before each call), what happened outside
(a process that is never killed), Temporal's histories, and our own store. It exits with 1 if they disagree, and keeps
the folder then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from holdfast import Client
from holdfast.chaos.proxy import Proxy

from .driver import Driver
from .journal import Journal
from .scene import Scene
from .sink import read_effects
from .verdict import Judge, Verdict

QUIET_SECONDS: Final = 600.0
"""How long after the last fault all runs must have ended."""


async def _faults(scene: Scene, dice: random.Random, count: int, seconds: float, over: asyncio.Event) -> None:
    """So many faults spread over so many seconds."""
    begin = time.monotonic()
    for number in range(count):
        wait = begin + (number + dice.uniform(0.3, 1)) * seconds / count - time.monotonic()
        await asyncio.sleep(max(wait, 0.2))
        kind = dice.choices(list(scene.kinds), list(scene.kinds.values()))[0]
        await scene.inject(kind, dice)
    over.set()


async def _until_ended(client: Client, driver: Driver, begun: set[str]) -> list[str]:
    """Wait until all runs have ended. Returns those that have not."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        still = [run.id async for run in client.temporal.list_workflows("CloseTime IS NULL")]
        still = [run for run in still if run in begun]
        if not still or time.monotonic() > deadline:
            return still
        await driver.finish(still)
        await asyncio.sleep(2)


async def _play(options: argparse.Namespace, folder: Path, made: type[Scene]) -> Verdict:
    dice = random.Random(options.seed)
    seconds = options.minutes * 60 if options.minutes else options.runs / options.rate
    kills = options.kills if options.kills is not None else int(seconds / 8)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(made.set_up(folder))
        client = await stack.enter_async_context(Client.embedded(folder / "home"))
        proxies = {name: Proxy(client.address) for name in ("workers'", "caller's")}
        for proxy in proxies.values():
            await stack.enter_async_context(proxy)
        calling = Client.embedded(folder / "home", via=proxies["caller's"].address)
        caller = await stack.enter_async_context(calling)
        scene = made(folder, options.workers, proxies)
        try:
            await scene.serving()
            journal = Journal(folder / "intents.jsonl")
            driver = Driver(caller, journal, random.Random(options.seed + 1), longest=options.longest)
            over = asyncio.Event()
            telling = asyncio.create_task(_tell(journal, scene))
            faults = asyncio.create_task(_faults(scene, dice, kills, seconds, over))
            await driver.drive(int(seconds * options.rate), options.rate)
            await faults
            await driver.settled()
            last_fault = time.monotonic()
            still = await _until_ended(client, driver, {intent.run for intent in journal.of("start")})
            quiet = time.monotonic() - last_fault
            telling.cancel()
            print(f"all quiet {quiet:.0f} s after the last call; comparing the records", flush=True)
            logs = [worker.log for worker in scene.all_workers]
            effects = list(read_effects(scene.effects))
            judge = Judge(client, journal, effects, scene.faults, logs, scene.losses)
            verdict = await judge.judge(replayed=options.replayed)
            for run in still:
                stuck = (await client.get(run).describe()).waiting_for
                verdict.say("stuck", f"{run} has not ended: {stuck}")
            verdict.figures = {"faults": dict(scene.counts), **verdict.figures}
            return verdict
        finally:
            await scene.close()


async def _tell(journal: Journal, scene: Scene) -> None:
    while True:
        await asyncio.sleep(10)
        unknown = sum(intent.ended is not None and intent.outcome is None for intent in journal.intents)
        print(
            f"  {len(journal.of('start'))} starts, {len(journal.intents)} calls, {unknown} of unknown outcome; "
            f"{len(scene.faults)} faults",
            flush=True,
        )


def main(
    arguments: Sequence[str] | None = None,
    *,
    made: type[Scene] = Scene,
    name: str = "tests.crash",
    about: str | None = __doc__,
) -> int:
    """Parse the command line, play on a scene, and say what came of it."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument("--runs", type=int, default=400, help="how many (default 400)")
    parser.add_argument("--rate", type=float, default=6.0, help="runs a second (default 6)")
    parser.add_argument("--minutes", type=float, help="go on for so long in place of --runs")
    parser.add_argument("--kills", type=int, help="how many faults (default: one every eight seconds)")
    parser.add_argument("--longest", type=float, default=5.0, help="seconds of the longest step (default 5)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default 2)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="play one again")
    parser.add_argument("--replayed", type=int, help="how many histories to replay (default: all)")
    parser.add_argument("--folder", type=Path, help="keep all records here")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    print(f"seed {options.seed}", flush=True)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="holdfast-crash-"))
    folder.mkdir(exist_ok=True, parents=True)
    verdict = asyncio.run(_play(options, folder, made))
    for figure, value in verdict.figures.items():
        print(f"  {figure}: {json.dumps(value) if isinstance(value, dict) else value}")
    for violation in verdict.violations[:50]:
        print(f"VIOLATION {violation}")
    if verdict.violations:
        print(f"{len(verdict.violations)} violations; seed {options.seed}; all records are in {folder}")
        return 1
    print("nothing lost, nothing done again after its completion, nothing stuck")
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
