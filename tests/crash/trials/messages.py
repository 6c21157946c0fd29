"""Thousands of messages to one run, while its worker and its server are killed."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from tests.crash.journal import Journal
from tests.crash.trials.place import Place, beside, spread
from tests.crash.trials.served import collect, collect_in_one
from tests.crash.verdict import Verdict

from holdfast import HoldfastError, Run
from holdfast.errors import FixInput

SENDERS, MANY_SENDERS = 12, 400
PATIENCE = 10.0
NOTHING: list[list[int]] = []


class Senders:
    """Several who send one message after the other; whoever does not know what came of one sends it again.

    Args:
        place: Where.
        run: To whom.
        count: Messages of all.
        journal: Notes each before it is sent.
        senders: How many they are.
    """

    def __init__(
        self, place: Place, run: Run[Any], count: int, journal: Journal, senders: int = SENDERS
    ) -> None:
        self.senders = senders
        self.place, self.run, self.count, self.journal = place, run, count, journal
        self.refused: list[tuple[int, int, str]] = []
        self.taken = list[float]()
        self.acknowledged = self.again = 0

    async def send_all(self) -> None:
        """All of them, until one is refused to its sender."""
        shares = [self.count // self.senders + (n < self.count % self.senders) for n in range(self.senders)]
        await asyncio.gather(*(self._sender(number, share) for number, share in enumerate(shares)))

    async def _sender(self, sender: int, share: int) -> None:
        for number in range(share):
            message_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.run.id}/{sender}/{number}").hex
            intent = self.journal.intend("send", self.run.id, value=[sender, number])
            began = time.monotonic()
            while True:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self.run.send("item", [sender, number], message_id=message_id)
                except FixInput as error:
                    self.journal.outcome(intent, "refused", error)
                    self.refused.append((sender, number, str(error)))
                    return
                except (HoldfastError, TimeoutError):
                    self.again += 1
                    await asyncio.sleep(0.2)
                else:
                    break
            self.journal.outcome(intent, "acknowledged")
            self.acknowledged += 1
            self.taken.append(time.monotonic() - began)


async def signals(place: Place, verdict: Verdict) -> None:
    """To a run that continues as new, with kills of both."""
    count = place.options.count or 12_000
    place.modules = ("tests.crash.trials.served",)
    await place.employ_many(2)
    run = await place.client.start(collect, count, NOTHING, id="collects")
    senders = Senders(place, run, count, Journal(place.folder / "intents.jsonl"))

    async def kills() -> None:
        for share, kill in ((0.3, "worker"), (0.5, "server"), (0.7, "worker")):
            while senders.acknowledged < share * count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
            if kill == "worker":
                place.kill_worker()
            else:
                await place.kill_server()

    async with beside(place.keep()):
        began = time.monotonic()
        await asyncio.gather(senders.send_all(), kills())
        verdict.figures["sent"] = f"{senders.acknowledged} in {time.monotonic() - began:.0f} s"
        verdict.figures["a message took"] = spread(senders.taken)
        verdict.figures["sent again"] = senders.again
        verdict.figures["faults"] = [fault.kind for fault in place.faults]
        if senders.refused:
            verdict.say("refused", f"{senders.refused[0]}")
        else:
            async with asyncio.timeout(300):
                _all_there(verdict, run.id, await run.result(), senders)


def _all_there(verdict: Verdict, run: str, taken: list[list[int]], senders: Senders) -> None:
    """Each once, and those of one sender in the order in which it sent them."""
    of: dict[int, list[int]] = {sender: [] for sender in range(senders.senders)}
    for sender, number in taken:
        of[sender].append(number)
    sent = dict.fromkeys(of, 0)
    for intent in senders.journal.of("send"):
        if intent.run == run and intent.outcome == "acknowledged":
            sent[intent.facts["value"][0]] += 1
    for sender, numbers in of.items():
        if numbers != list(range(sent[sender])):
            missing = sorted(set(range(sent[sender])) - set(numbers))
            verdict.say(
                "messages",
                f"{run}: sender {sender} sent {sent[sender]}, {len(numbers)} came, missing {missing[:5]}, "
                f"{len(numbers) - len(set(numbers))} twice, in order: {numbers == sorted(numbers)}",
            )


async def signals_in_one(place: Place, verdict: Verdict) -> None:
    """A run that never continues as new takes them all, or refuses some in time and is not lost for it."""
    count = place.options.count or 12_000
    place.modules = ("tests.crash.trials.served",)
    await place.employ_many(1)
    run = await place.client.start(collect_in_one, count, id="collects-in-one")
    senders = Senders(place, run, count, Journal(place.folder / "intents.jsonl"))
    await senders.send_all()
    await _ends_or_waits(verdict, run, senders)


async def signals_queued(place: Place, verdict: Verdict) -> None:
    """Messages that come while no worker is there are kept by the server, as far as it keeps so many."""
    count = place.options.count or 12_000
    place.modules = ("tests.crash.trials.served",)
    run = await place.client.start(collect, count, NOTHING, id="collects-later")
    # Each send waits two seconds for a worker before it leaves its message with the server.
    senders = Senders(place, run, count, Journal(place.folder / "intents.jsonl"), MANY_SENDERS)
    await senders.send_all()
    await place.employ_many(1)
    await _ends_or_waits(verdict, run, senders)


async def _ends_or_waits(verdict: Verdict, run: Run[Any], senders: Senders) -> None:
    """Either the run has all, or goes on with those that were not refused, and each sender was told why."""
    verdict.figures["acknowledged"] = senders.acknowledged
    verdict.figures["a message took"] = spread(senders.taken)
    if not senders.refused:
        async with asyncio.timeout(300):
            _all_there(verdict, run.id, await run.result(), senders)
        return
    verdict.figures["refused after that"] = senders.refused[0][2]
    await asyncio.sleep(10)
    description = await run.describe()
    if description.state.closed or description.stuck:
        state = description.stuck or description.state.value
        verdict.say("lost", f"{run.id} is {state} after {senders.acknowledged} acknowledged messages")
