"""Boxes for calls: what did the same side by side, or again and again, is one box with a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from holdfast.engine.history.calls import Call

MAX_SIDE_BY_SIDE: Final = 3
"""More parallel calls that do the same and follow the same are one box."""
MAX_IN_A_ROW: Final = 8
"""More calls in a row that do the same, or that repeat a round of up to four, are one box each."""
MAX_BOXES: Final = 100
"""With more boxes than these, all calls that do the same are one box."""
_MAX_ROUND: Final = 4
_MIN_ROUNDS: Final = 3

_MAX_BACK: Final = 50
_MAX_REDUCED: Final = 2000

Key: TypeAlias = tuple[str, str]
Edge: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A picture in the making: boxes of calls by number, and arrows between them."""

    boxes: Mapping[int, Sequence[Call]]
    """In the order of their first calls; a box has the number of its first call."""
    edges: Collection[Edge]

    @classmethod
    def of(cls, calls: Sequence[Call]) -> Sketch:
        """The boxes of calls, each with what it follows; what a call follows comes before it."""
        sketch = _by_depth(calls)
        for simpler in (_loops, _rounds):
            sketch = simpler(sketch)
        return sketch if len(sketch.boxes) <= MAX_BOXES else _by_key(sketch)

    def merged(self, groups: Iterable[Collection[int]]) -> Sketch:
        """The same with each group of boxes as one."""
        into = {box: first for group in groups for first in (min(group),) for box in group}
        if not into:
            return self
        members: dict[int, list[Call]] = {}
        for box, calls in self.boxes.items():
            members.setdefault(into.get(box, box), []).extend(calls)
        edges = {(into.get(source, source), into.get(target, target)) for source, target in self.edges}
        return Sketch(boxes=dict(sorted(members.items())), edges=_without_cycles(edges))

    def key(self, box: int) -> Key:
        """What the calls of a box do."""
        return self.boxes[box][0].key


def _without_cycles(edges: Collection[Edge]) -> set[Edge]:
    """Without the arrows back to earlier boxes that close a circle: that it was a loop is said by a count."""
    kept = {(source, target) for source, target in edges if source < target}
    back = sorted((source, target) for source, target in edges if source > target)
    after: dict[int, list[int]] = {}
    for source, target in kept if back else ():
        after.setdefault(source, []).append(target)
    for source, target in back[:_MAX_BACK]:
        todo, seen = [target], {target}
        while todo and source not in seen:
            new = [box for box in after.get(todo.pop(), ()) if box not in seen]
            seen.update(new)
            todo += new
        if source not in seen:
            kept.add((source, target))
            after.setdefault(source, []).append(target)
    return kept


def _by_depth(calls: Sequence[Call]) -> Sketch:
    """One box for calls that do the same and follow the same, which in parallel chains are those of one depth."""
    kinds: dict[tuple[Key, frozenset[int]], int] = {}
    alike: dict[int, list[Call]] = {}
    kind_of: dict[Call, int] = {}
    # Calls share the tuples of what they follow, so each is looked at once.
    followed: dict[int, frozenset[int]] = {}
    for call in calls:
        if id(call.follows) not in followed:
            followed[id(call.follows)] = frozenset(kind_of[end] for end in call.follows)
        kind = kinds.setdefault((call.key, followed[id(call.follows)]), len(kinds))
        kind_of[call] = kind
        alike.setdefault(kind, []).append(call)

    box_of = {
        call: group[0].index if len(group) > MAX_SIDE_BY_SIDE else call.index
        for group in alike.values()
        for call in group
    }
    boxes: dict[int, list[Call]] = {}
    sources: dict[int, set[int]] = {}
    edges: set[Edge] = set()
    for call in calls:
        boxes.setdefault(box_of[call], []).append(call)
        if id(call.follows) not in sources:
            sources[id(call.follows)] = {box_of[end] for end in call.follows}
        edges.update((source, box_of[call]) for source in sources[id(call.follows)])
    return Sketch(boxes=boxes, edges=edges)


def _loops(sketch: Sketch) -> Sketch:
    """One box for calls that do the same one after the other: a loop, or a map that runs some items at a time."""
    parent = {box: box for box in sketch.boxes}

    def find(box: int) -> int:
        while parent[box] != box:
            parent[box] = box = parent[parent[box]]
        return box

    before: dict[int, set[int]] = {box: set() for box in sketch.boxes}
    for source, target in sketch.edges:
        before[target].add(source)
    siblings: dict[tuple[Key, frozenset[int]], int] = {}
    in_a_row: list[int] = []
    for box, sources in before.items():
        same = [source for source in sources if sketch.key(source) == sketch.key(box)]
        in_a_row += same
        for other in (*same, siblings.setdefault((sketch.key(box), frozenset(sources)), box)):
            parent[find(other)] = find(box)

    groups: dict[int, list[int]] = {}
    for box in sketch.boxes:
        groups.setdefault(find(box), []).append(box)
    loops = {find(box) for box in in_a_row}
    return sketch.merged(
        group
        for root, group in groups.items()
        if root in loops and sum(len(sketch.boxes[box]) for box in group) > MAX_IN_A_ROW
    )


def _rounds(sketch: Sketch) -> Sketch:
    """One box for each part of a round that a chain repeats: check, sleep, check, sleep, ..."""
    groups: list[list[int]] = []
    for chain in _chains(sketch):
        keys = [sketch.key(box) for box in chain]
        start = 0
        while start < len(chain):
            size, end = _round_at(keys, start)
            if sum(len(sketch.boxes[box]) for box in chain[start:end]) > MAX_IN_A_ROW:
                groups += [chain[start + offset : end : size] for offset in range(size)]
                start = end
            else:
                start += 1
    return sketch.merged(groups)


def _round_at(keys: Sequence[Key], start: int) -> tuple[int, int]:
    """The size and the end of the rounds that begin there; an empty stretch if there are none."""
    for size in range(1, _MAX_ROUND + 1):
        end = start + size
        while end < len(keys) and keys[end] == keys[end - size]:
            end += 1
        if end - start >= _MIN_ROUNDS * size:
            return size, end
    return 1, start


def _chains(sketch: Sketch) -> list[list[int]]:
    """The boxes as chains: each but the last has one arrow out, and each but the first one arrow in. An arrow past
    others, as of items that needed fewer rounds, does not count."""
    after = _direct(sketch)
    into = Counter(target for targets in after.values() for target in targets)
    next_of = {box: to[0] for box, to in after.items() if len(to) == 1 and into[to[0]] == 1}
    inner = set(next_of.values())
    chains: list[list[int]] = []
    for box in sketch.boxes:
        if box not in inner:
            chain = [box]
            while chain[-1] in next_of:
                chain.append(next_of[chain[-1]])
            chains.append(chain)
    return chains


def _direct(sketch: Sketch) -> dict[int, list[int]]:
    """Where the arrows lead, without those that other arrows lead to as well."""
    after: dict[int, list[int]] = {box: [] for box in sketch.boxes}
    for source, target in sorted(sketch.edges):
        after[source].append(target)
    if len(after) > _MAX_REDUCED:
        return after
    # One integer per box, with a bit for each box that can be reached from it.
    reached: dict[int, int] = {}
    for box in reversed(after):
        behind, direct = 0, list[int]()
        for target in after[box]:
            if not behind >> target & 1:
                direct.append(target)
            behind |= 1 << target | reached.get(target, 0)
        after[box], reached[box] = direct, behind
    return after


def _by_key(sketch: Sketch) -> Sketch:
    groups: dict[Key, list[int]] = {}
    for box in sketch.boxes:
        groups.setdefault(sketch.key(box), []).append(box)
    return sketch.merged(group for group in groups.values() if len(group) > 1)
