"""The user of the harness: starts runs of all shapes, sends, decides and cancels; each call is noted in the journal."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from holdfast import Client, HoldfastError, Run
from holdfast.errors import AlreadyDecided, AlreadyStarted, FixInput, RunClosed

from . import work
from .journal import Intent, Journal

SHAPES: Final = {
    "chain": (work.chain, 3, 4),
    "fan": (work.fan, 4, 2),
    "saga": (work.saga, 2, 2),
    "parent": (work.parent, 3, 2),
    "mapped": (work.mapped, 4, 1),
    "asks": (work.asks, 1, 3),
    "diamond": (work.diamond, 3, 2),
    "extra": (work.extra, 2, 1),
}
"""The workflow, how many pauses it takes, and how often it is chosen relative to the others."""

CANCELLED: Final = 0.04
DOUBLED: Final = 0.06
"""Which share of the runs is cancelled in the middle, and which is started by two at once."""

_PATIENCE: Final = 10.0
"""After this many seconds the outcome of a call is unknown."""


class Driver:
    """Makes the calls.

    Args:
        client: A client of the home.
        journal: Where they are noted.
        dice: Chance.
        longest: Of a step, in seconds; the shortest takes a tenth of a second.
    """

    def __init__(self, client: Client, journal: Journal, dice: random.Random, *, longest: float) -> None:
        self.client, self.journal, self.dice, self.longest = client, journal, dice, longest
        self._later: set[asyncio.Task[None]] = set()

    async def drive(self, runs: int, rate: float, done: Callable[[], bool] | None = None) -> None:
        """Start runs at a rate.

        Args:
            runs: How many, at most.
            rate: Runs a second.
            done: Whether to end before that.
        """
        begin = time.monotonic()
        for number in range(runs):
            if done is not None and done():
                break
            await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
            self._do(self._one(number))

    async def settled(self) -> None:
        """Wait for all calls that are under way."""
        while self._later:
            await asyncio.wait(set(self._later))

    def _do(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _one(self, number: int) -> None:
        shape = self.dice.choices(list(SHAPES), [weight for *_, weight in SHAPES.values()])[0]
        run_id = f"{shape}-{number}"
        pauses = [round(self.dice.uniform(0.1, self.longest), 2) for _ in range(SHAPES[shape][1])]
        is_doubled, is_cancelled = self.dice.random() < DOUBLED, self.dice.random() < CANCELLED
        calls = [self.start(run_id, shape, pauses) for _ in range(2 if is_doubled else 1)]
        found = await asyncio.gather(*calls)
        if not any(found):
            return
        if shape == "asks":
            for name, delay in (("one", self.dice.uniform(0, 2)), ("two", self.dice.uniform(0, 2))):
                await asyncio.sleep(delay)
                await self.send(run_id, name)
            await asyncio.sleep(self.dice.uniform(1, 3))
            await self.decide(run_id)
        elif is_cancelled:
            await asyncio.sleep(self.dice.uniform(0, sum(pauses)))
            await self.cancel(run_id)

    async def start(self, run_id: str, shape: str, pauses: list[float]) -> bool:
        """Start a run. Returns whether that was acknowledged."""
        intent = self.journal.intend("start", run_id, shape=shape, pauses=pauses)
        workflow: Any = SHAPES[shape][0]
        return await self._call(intent, self.client.start(workflow, pauses, id=run_id))

    async def send(self, run_id: str, value: str) -> bool:
        """Send a message; where nobody knows what came of it, send it again, as a careful sender does."""
        message_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{run_id}/{value}").hex
        intent = self.journal.intend("send", run_id, value=value)
        return await self._call(intent, self._run(run_id).send("go", value, message_id=message_id))

    async def decide(self, run_id: str) -> bool:
        """Decide what a run asks."""
        intent = self.journal.intend("decide", run_id)
        return await self._call(intent, self._run(run_id).send("ok", "yes"))

    async def cancel(self, run_id: str) -> bool:
        """Cancel a run."""
        intent = self.journal.intend("cancel", run_id)
        return await self._call(intent, self._run(run_id).cancel("the harness wants it"))

    def _run(self, run_id: str) -> Run[Any]:
        return self.client.get(run_id)

    async def _call(self, intent: Intent, call: Awaitable[object]) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                await call
        except (AlreadyStarted, AlreadyDecided, RunClosed) as error:
            # It was there: by the other of two, or by a call whose outcome was unknown.
            self.journal.outcome(intent, "was done", error)
            return True
        except FixInput as error:
            self.journal.outcome(intent, "refused", error)
        except (HoldfastError, TimeoutError) as error:
            self.journal.outcome(intent, None, error)
        else:
            self.journal.outcome(intent, "acknowledged")
            return True
        return False

    async def finish(self, open_runs: list[str]) -> None:
        """After the faults: give runs that wait what they wait for, as far as it never came to them."""
        for run_id in open_runs:
            if run_id.startswith("asks-"):
                for value in ("one", "two"):
                    await self.send(run_id, value)
                await self.decide(run_id)
