"""Steps that end their process or hold it, first in processes of their own, then in the worker itself."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.crash import work
from tests.crash.journal import Journal
from tests.crash.scene import Fault
from tests.crash.trials.place import Place, beside, spread
from tests.crash.trials.poisons import ATTEMPTS, KINDS, computes, poisoned
from tests.crash.verdict import Judge, Verdict, calls_of

from holdfast import Run, RunFailed

MEMORY_BYTES = 3 * 1024**3
PATIENCE = 300.0
SIDE_BY_SIDE = 4


class Neighbours:
    """Healthy runs on the same queue: three plain steps, and one that computes in a process."""

    def __init__(self, place: Place, journal: Journal, name: str) -> None:
        self.place, self.journal, self.name = place, journal, name
        self.took, self.computed = list[float](), list[float]()
        self.lost = list[str]()
        self.attempts: Counter[int] = Counter()
        self.enough = asyncio.Event()

    async def come(self) -> None:
        """`SIDE_BY_SIDE` of each kind, one after the other, until `enough`."""

        async def one_after_another(kind: Callable[[str], Awaitable[None]], name: str) -> None:
            for number in itertools.count():
                if self.enough.is_set():
                    break
                await kind(f"{self.name}-{name}-{number}")

        async with asyncio.TaskGroup() as group:
            for place in range(SIDE_BY_SIDE):
                group.create_task(one_after_another(self._plain, f"plain-{place}"))
                group.create_task(one_after_another(self._computing, f"computes-{place}"))

    async def _plain(self, run_id: str) -> None:
        intent = self.journal.intend("start", run_id)
        began = time.monotonic()
        run = await self.place.client.start(work.chain, [0.2, 0.2, 0.2], id=run_id)
        self.journal.outcome(intent, "acknowledged")
        await run.result()
        self.took.append(time.monotonic() - began)

    async def _computing(self, run_id: str) -> None:
        began = time.monotonic()
        run = await self.place.client.start(computes, 0.3, id=run_id)
        try:
            await run.result()
        except RunFailed as error:
            self.lost.append(f"{run_id}: {error}")
        else:
            self.computed.append(time.monotonic() - began)
        for call in calls_of(run_id, (await run.history()).events).values():
            self.attempts[call.attempts] += 1


async def poison(place: Place, verdict: Verdict) -> None:
    """Every kind, `--count` times (default 3)."""
    place.modules = ("tests.crash.work", "tests.crash.trials.poisons")
    place.memory_bytes = MEMORY_BYTES
    place.worker_options = {"max_processes": 4}
    await place.employ_many(2)
    async with beside(place.keep()):
        for apart, name in ((True, "apart"), (False, "inside")):
            await _phase(place, verdict, name, apart=apart)


async def _phase(place: Place, verdict: Verdict, name: str, *, apart: bool) -> None:
    journal = Journal(place.folder / f"intents-{name}.jsonl")
    neighbours = Neighbours(place, journal, name)
    fault = Fault(kind=f"poison {name}", pid=0, at=time.time(), until=time.time() + 3600)
    ended = len(place.faults)
    place.faults.append(fault)
    reasons: dict[str, str] = {}
    coming = asyncio.create_task(neighbours.come())
    try:
        for number in range(place.options.count or 3):
            for kind in KINDS:
                run = await place.client.start(
                    poisoned, kind, apart, id=f"{name}-{KINDS.index(kind)}-{number}"
                )
                await _fails(verdict, run, kind, reasons)
    finally:
        neighbours.enough.set()
        await asyncio.wait_for(coming, PATIENCE)
    fault.until = time.time()
    verdict.figures |= {
        f"{name}: reasons": reasons,
        f"{name}: workers that ended or were ended": len(place.faults) - ended - 1,
        f"{name}: neighbours of three plain steps": spread(neighbours.took),
        f"{name}: neighbours that compute": spread(neighbours.computed),
        f"{name}: of those, by attempts": {
            str(key): neighbours.attempts[key] for key in sorted(neighbours.attempts)
        },
        f"{name}: of those, failed": len(neighbours.lost),
    }
    effects = [effect for effect in place.effects() if effect.run.startswith(f"{name}-")]
    judged = await Judge(place.client, journal, effects, place.faults[ended:], []).judge()
    verdict.violations += [f"{name}: {violation}" for violation in judged.violations]
    if apart and neighbours.lost:
        # In the worker itself nothing protects them: three attempts are three.
        verdict.say(
            "neighbours", f"{len(neighbours.lost)} computing neighbours failed, as {neighbours.lost[0]}"
        )
    verdict.figures |= {
        f"{name}: of three plain steps, {key}": value for key, value in judged.figures.items()
    }


async def _fails(verdict: Verdict, run: Run[str], kind: str, reasons: dict[str, str]) -> None:
    """The run ends failed, after no more attempts than the step may have, and says why."""
    began = time.monotonic()
    try:
        result = await asyncio.wait_for(run.result(), PATIENCE)
    except RunFailed as error:
        reasons[kind] = f"{error} ({time.monotonic() - began:.0f} s)"
        if "poison." not in str(error):
            verdict.say("reason", f"{run.id} ({kind}) does not name its step: {error}")
    else:
        verdict.say("poison", f"{run.id} ({kind}) gave {result!r}")
    for call in calls_of(run.id, (await run.history()).events).values():
        if call.attempts > ATTEMPTS:
            verdict.say("attempts", f"{run.id} ({kind}) was tried {call.attempts} times")
