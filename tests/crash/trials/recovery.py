"""How long nothing happens after a worker or the server was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from tests.crash import work
from tests.crash.scene import until
from tests.crash.trials.place import Place, spread
from tests.crash.verdict import Verdict

from holdfast import HoldfastError
from holdfast.engine import embedded

TIMES = 10
WORKER_SECONDS = 10.0
SERVER_SECONDS = 5.0


async def worker_loss(place: Place, verdict: Verdict) -> None:
    """Kills the worker that runs a step, `--count` times (default 10), and measures until the step begins elsewhere."""
    await place.employ_many(2)
    taken = list[float]()
    for number in range(place.options.count or TIMES):
        taken.append(await _lost(place, verdict, f"chain-{number}"))
    _judge(place, verdict, "a killed worker's step began elsewhere after", taken, WORKER_SECONDS)


async def _lost(place: Place, verdict: Verdict, run_id: str) -> float:
    """One kill. Returns the seconds until the step's next beginning."""
    run = await place.client.start(work.chain, [3.0], id=run_id)
    await until(lambda: _begun(place, run_id), 30)
    await asyncio.sleep(place.dice.uniform(0, 2))
    victim = next(hand for hand in place.hands if hand.pid == _begun(place, run_id)[0][1])
    place.hands.remove(victim)
    victim.kill()
    killed = time.time()
    await until(lambda: len(_begun(place, run_id)) > 1, 60)
    again = _begun(place, run_id)[1][0]
    await place.employ_many(1)
    if await run.result() != ["0"]:
        verdict.say("result", f"{run_id} gave another result")
    return again - killed


def _begun(place: Place, run_id: str) -> list[tuple[float, int]]:
    effects = place.effects()
    return [(effect.at, effect.pid) for effect in effects if effect.run == run_id and effect.phase == "start"]


async def server_back(place: Place, verdict: Verdict) -> None:
    """Kills the server, `--count` times (default 10), and measures until a start is answered, and a run ends."""
    await place.employ_many(1)
    answered, worked = list[float](), list[float]()
    for number in range(place.options.count or TIMES):
        await place.client.run(work.chain, [0.1], id=f"before-{number}")
        info = embedded.read_info(place.home)
        assert info is not None
        os.kill(info.server_pid, signal.SIGKILL)
        killed = time.monotonic()
        run_id = f"after-{number}"
        async with asyncio.timeout(60):
            while True:
                try:
                    run = await place.client.start(work.chain, [0.1], id=run_id, if_exists="return")
                    break
                except HoldfastError:
                    await asyncio.sleep(0.05)
        answered.append(time.monotonic() - killed)
        await run.result()
        worked.append(time.monotonic() - killed)
    verdict.figures["a run that was started then had ended after"] = spread(worked)
    _judge(place, verdict, "a killed server answered a start after", answered, SERVER_SECONDS)


def _judge(place: Place, verdict: Verdict, name: str, seconds: list[float], limit: float) -> None:
    verdict.figures[name] = spread(seconds)
    if max(seconds) > limit and not place.options.untimed:
        verdict.say("slow", f"{name} {max(seconds):.1f} s; promised are {limit:g} s")
