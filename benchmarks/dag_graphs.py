"""The graphs that both peers run, and how soon a graph can end at best."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A graph: what each node waits for, every node after its sources, and how long each one sleeps."""

    sources: Mapping[str, tuple[str, ...]]
    seconds: Mapping[str, float]

    @property
    def work(self) -> float:
        """Seconds of all nodes together."""
        return sum(self.seconds.values())

    @property
    def critical_path(self) -> float:
        """Seconds of the longest way through it."""
        ends: dict[str, float] = {}
        for node, sources in self.sources.items():
            ends[node] = self.seconds[node] + max((ends[source] for source in sources), default=0.0)
        return max(ends.values())

    def bound(self, slots: int) -> float:
        """Seconds below which no schedule on so many slots can end."""
        return max(self.critical_path, self.work / slots)


def chain_of(count: int) -> Plan:
    """One node after the other."""
    return _idle({f"n{i}": (f"n{i - 1}",) if i else () for i in range(count)})


def fan_of(count: int) -> Plan:
    """All at once."""
    return _idle({f"n{i}": () for i in range(count)})


def random_plan(count: int, seed: int, *, least: float = 0.0, most: float = 0.0) -> Plan:
    """Each node waits for up to three of those before it; one in eight waits for none.

    Args:
        count: Nodes.
        seed: Of chance.
        least: The shortest sleep in seconds.
        most: The longest.
    """
    chance = random.Random(seed)
    sources: dict[str, tuple[str, ...]] = {}
    for index in range(count):
        taken = chance.randint(1, 3) if chance.random() > 1 / 8 else 0
        before = sorted(chance.sample(range(index), min(taken, index)))
        sources[f"n{index}"] = tuple(f"n{number}" for number in before)
    return Plan(sources=sources, seconds={node: chance.uniform(least, most) for node in sources})


def wide_plan(links: int, fans: Mapping[int, int], seed: int, *, least: float, most: float) -> Plan:
    """A chain; some of its links fan out to many nodes, which meet in one node for each fan.

    Args:
        links: How long the chain is.
        fans: How many nodes hang on a link.
        seed: Of chance.
        least: The shortest sleep in seconds.
        most: The longest.
    """
    chance = random.Random(seed)
    sources: dict[str, tuple[str, ...]] = {}
    for link in range(links):
        width = fans.get(link, 0)
        sources[f"link{link}"] = (f"link{link - 1}",) if link else ()
        leaves = [f"leaf{link}_{number}" for number in range(width)]
        sources.update(dict.fromkeys(leaves, (f"link{link}",)))
        if leaves:
            sources[f"join{link}"] = tuple(leaves)
    return Plan(sources=sources, seconds={node: chance.uniform(least, most) for node in sources})


def _idle(sources: Mapping[str, tuple[str, ...]]) -> Plan:
    return Plan(sources=sources, seconds=dict.fromkeys(sources, 0.0))
