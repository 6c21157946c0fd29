"""The graph of a DAG: order, cycles, ancestors, longest ways to the end. Linear in nodes and edges."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.spec.model import DagSpec


class Graph:
    """Nodes and what each depends on. Dependencies on ids that are no nodes, and on itself, are left out.

    Attributes:
        ids: The nodes, in the order given.
        dependencies: What each node waits for.
        dependents: What waits for each node.
    """

    def __init__(self, dependencies: Mapping[str, Iterable[str]]) -> None:
        self.ids: tuple[str, ...] = tuple(dependencies)
        self.dependencies: dict[str, tuple[str, ...]] = {
            node: tuple(
                source for source in dict.fromkeys(sources) if source in dependencies and source != node
            )
            for node, sources in dependencies.items()
        }
        dependents: dict[str, list[str]] = {node: [] for node in self.ids}
        for node, sources in self.dependencies.items():
            for source in sources:
                dependents[source].append(node)
        self.dependents: dict[str, tuple[str, ...]] = {
            node: tuple(after) for node, after in dependents.items()
        }

    @classmethod
    def of(cls, spec: DagSpec) -> Graph:
        """The graph of a spec: its nodes in document order."""
        return cls({node: spec.dependencies[node] for node in spec.by_id})

    @functools.cached_property
    def order(self) -> tuple[str, ...]:
        """A topological order, the same for the same graph. Nodes in a cycle, and those behind one, are missing."""
        open_count = {node: len(sources) for node, sources in self.dependencies.items()}
        ready = deque(node for node in self.ids if not open_count[node])
        order: list[str] = []
        while ready:
            node = ready.popleft()
            order.append(node)
            for after in self.dependents[node]:
                open_count[after] -= 1
                if not open_count[after]:
                    ready.append(after)
        return tuple(order)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The nodes that nothing waits for."""
        return tuple(node for node in self.ids if not self.dependents[node])

    @functools.cached_property
    def order_positions(self) -> Mapping[str, int]:
        """Where each node is in `order`."""
        return {node: index for index, node in enumerate(self.order)}

    @functools.cached_property
    def _ancestor_bits(self) -> list[int]:
        # One integer per node, a bit per ancestor: 10,000 nodes take 12 MB at most, and a union is one operation.
        bits: list[int] = []
        position = self.order_positions
        for node in self.order:
            mine = 0
            for source in self.dependencies[node]:
                index = position[source]
                mine |= bits[index] | (1 << index)
            bits.append(mine)
        return bits

    def is_ancestor(self, ancestor: str, node: str) -> bool:
        """Whether `node` waits for `ancestor`, directly or through others. False for nodes missing in `order`."""
        first, second = self.order_positions.get(ancestor), self.order_positions.get(node)
        return first is not None and second is not None and bool(self._ancestor_bits[second] >> first & 1)

    def ancestors(self, node: str) -> frozenset[str]:
        """Everything that `node` waits for, directly or through others."""
        bits = self._ancestor_bits[self.order_positions[node]]
        found: list[str] = []
        while bits:
            lowest = bits & -bits
            found.append(self.order[lowest.bit_length() - 1])
            bits ^= lowest
        return frozenset(found)

    @functools.cached_property
    def implied(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """The dependencies that follow from others, by node: each with the dependency that waits for it anyway. Only
        nodes that have one."""
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        position = self.order_positions
        for node in self.order:
            # Latest first: only what comes later in the order can wait for a source.
            sources = sorted(self.dependencies[node], key=position.__getitem__, reverse=True)
            covered, implied = 0, list[tuple[str, str]]()
            for index, source in enumerate(sources):
                if covered >> position[source] & 1:
                    through = next(other for other in sources[:index] if self.is_ancestor(source, other))
                    implied.append((source, through))
                covered |= self._ancestor_bits[position[source]]
            if implied:
                found[node] = tuple(implied)
        return found

    def descendants(self, nodes: Iterable[str]) -> frozenset[str]:
        """Everything that waits for one of these nodes, directly or through others."""
        found: set[str] = set()
        todo = list(nodes)
        while todo:
            for after in self.dependents[todo.pop()]:
                if after not in found:
                    found.add(after)
                    todo.append(after)
        return frozenset(found)

    @functools.cached_property
    def layers(self) -> Mapping[str, int]:
        """The number of nodes before each node on the longest way to it, for the nodes in `order`."""
        layers: dict[str, int] = {}
        for node in self.order:
            layers[node] = max((layers[source] + 1 for source in self.dependencies[node]), default=0)
        return layers

    @property
    def depth(self) -> int:
        """The number of nodes of the longest chain."""
        return max(self.layers.values(), default=-1) + 1

    def remaining(self, durations: Mapping[str, float]) -> dict[str, float]:
        """The longest time from the start of each node to the end of all: what to start first.

        Args:
            durations: Seconds by node; a missing one counts as 0.
        """
        remaining: dict[str, float] = {}
        for node in reversed(self.order):
            after = max(
                (remaining[other] for other in self.dependents[node] if other in remaining), default=0.0
            )
            remaining[node] = after + durations.get(node, 0.0)
        return remaining

    def cycles(self) -> list[tuple[str, ...]]:
        """One shortest cycle for each knot of nodes that depend on each other: `("a", "b", "a")`, where each
        comes before the next."""
        return [self._shortest_cycle(knot) for knot in self.knots()]

    def knots(self) -> list[set[str]]:
        """The strong components of more than one node: nodes that all depend on each other.

        Tarjan's algorithm (1972), without recursion.
        """
        done = set(self.order)
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        on_stack: set[str] = set()
        knots: list[set[str]] = []
        for start in self.ids:
            if start in index or start in done:
                continue
            work: list[tuple[str, Iterator[str]]] = [(start, iter(self.dependencies[start]))]
            index[start] = low[start] = len(index)
            stack.append(start)
            on_stack.add(start)
            while work:
                node, sources = work[-1]
                for source in sources:
                    if source in done:
                        continue
                    if source not in index:
                        index[source] = low[source] = len(index)
                        stack.append(source)
                        on_stack.add(source)
                        work.append((source, iter(self.dependencies[source])))
                        break
                    if source in on_stack:
                        low[node] = min(low[node], index[source])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[node])
                    if low[node] == index[node]:
                        knot = set[str]()
                        while node not in knot:
                            knot.add(stack.pop())
                        on_stack -= knot
                        if len(knot) > 1:
                            knots.append(knot)
        return knots

    def _shortest_cycle(self, knot: set[str]) -> tuple[str, ...]:
        start = min(knot)
        came_from: dict[str, str] = {}
        todo = deque([start])
        while todo:
            node = todo.popleft()
            for source in self.dependencies[node]:
                if source == start:
                    path = [node]
                    while path[-1] != start:
                        path.append(came_from[path[-1]])
                    return (start, *path)
                if source in knot and source not in came_from:
                    came_from[source] = node
                    todo.append(source)
        raise AssertionError("a knot has a cycle through each of its nodes")
