"""Paired rounds: every figure of two sides is taken in turn, in alternating order, and compared pair by pair."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.side import Side

Figure = Callable[[Side], Awaitable[float]]
"""Returns seconds: less is better."""


async def one_step(side: Side, kind: str = "chain", count: int = 30, q: float = 0.5) -> float:
    """A quantile of the latency of one-step runs, one after the other."""
    times: list[float] = []
    for _ in range(count):
        begin = time.perf_counter()
        await side.run(kind, 1)
        times.append(time.perf_counter() - begin)
    times.sort()
    return times[min(len(times) - 1, int(q * len(times)))]


async def once(side: Side, kind: str, count: int) -> float:
    """The time of one run."""
    begin = time.perf_counter()
    await side.run(kind, count)
    return time.perf_counter() - begin


async def flight(side: Side, kind: str = "chain", runs: int = 100, at_once: int = 50) -> float:
    """Seconds a run, with so many in flight."""
    places = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with places:
            await side.run(kind, 1)

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(runs)))
    return (time.perf_counter() - begin) / runs


@dataclass(kw_only=True)
class Row:
    """One line of the table."""

    name: str
    ours: list[float] = field(default_factory=list[float])
    theirs: list[float] = field(default_factory=list[float])

    @property
    def ratios(self) -> list[float]:
        """Speed of ours relative to theirs, round by round; above 1 is faster."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)

    def quartiles(self) -> tuple[float, float]:
        """The ratios' first and third quartile."""
        first, _, third = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return first, third

    def to_dict(self) -> dict[str, object]:
        """As JSON values, times in milliseconds."""
        return {
            "name": self.name,
            "ours_ms": round(1000 * statistics.median(self.ours), 3),
            "theirs_ms": round(1000 * statistics.median(self.theirs), 3),
            "ratio": round(self.ratio, 3),
            "quartiles": [round(value, 3) for value in self.quartiles()],
            "rounds": len(self.ours),
        }


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A row to be measured."""

    name: str
    ours: Callable[[], Awaitable[float]]
    theirs: Callable[[], Awaitable[float]]


async def paired(pairs: Sequence[Pair], rounds: int, report: Callable[[int], None]) -> list[Row]:
    """Measure all pairs, each round in the other order than the last."""
    rows = [Row(name=pair.name) for pair in pairs]
    for pair in pairs:  # one round that does not count
        await pair.ours()
        await pair.theirs()
    for number in range(rounds):
        for pair, row in zip(pairs, rows, strict=True):
            if number % 2 == 0:
                row.ours.append(await pair.ours())
                row.theirs.append(await pair.theirs())
            else:
                row.theirs.append(await pair.theirs())
                row.ours.append(await pair.ours())
        report(number + 1)
    return rows
