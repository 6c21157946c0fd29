"""Which calls led to which, inferred from the order of events; `graph` says how and how far."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from holdfast.engine.history.calls import Call, Calls, Turn
from holdfast.engine.history.evidence import Evidence
from holdfast.engine.history.payloads import Opened

Key: TypeAlias = tuple[str, str]
_Ends: TypeAlias = tuple[Call, ...]

_MAX_HABIT: Final = 4
_MAX_LOOKED_AT: Final = 64


def infer(found: Calls, opened: Opened) -> list[Call]:
    """The calls that are shown, numbered, each with what it follows."""
    causes = _Causes(Evidence(opened, found.inputs))
    for turn in found.turns:
        causes.take(turn)
    shown = _without_hidden(causes.order)
    for index, call in enumerate(shown):
        call.index = index
    return shown


class _Causes:
    def __init__(self, evidence: Evidence) -> None:
        self.order: list[Call] = []
        self._evidence = evidence
        self._open: dict[Call, None] = {}
        """The open ends: calls that have ended and that nothing has followed yet."""
        self._open_by_key: dict[Key, dict[Call, None]] = {}
        self._habits: dict[Key, Mapping[Key, int]] = {}
        """What calls of a kind followed where there was no doubt."""
        self._delayed: list[Call] = []
        self._led: set[Call] = set()
        """Children whose start led to something. Their end does so too only if it does at once."""

    def take(self, turn: Turn) -> None:
        called = [*self._delayed, *(call for call in turn.called if not call.is_guard)]
        self._delayed = []
        if turn.is_early and not self._open:
            self._delayed = called
            return
        fresh = [call for call in turn.ended if not call.is_guard]
        if not fresh and (called or turn.is_last):
            fresh = self._waited(turn.messages)
        for call in fresh:
            self._evidence.produced(call)
            self._open[call] = None
            self._open_by_key.setdefault(call.key, {})[call] = None
        if called:
            if not fresh:
                self._led.update(turn.begun)
            self._connect(dict.fromkeys(fresh or turn.begun), called)
        self._close(call for call in fresh if call in self._led)
        self.order += called

    def _waited(self, messages: Sequence[Call]) -> list[Call]:
        """The messages, as waits that followed all open ends."""
        waits = list({message.label: message for message in messages}.values())
        ends = tuple(self._open)
        for wait in waits:
            wait.follows = ends
        self.order += waits
        if waits:
            self._close(ends)
        return waits

    def _close(self, ends: Iterable[Call]) -> None:
        for end in ends:
            if end in self._open:
                del self._open[end]
                del self._open_by_key[end.key][end]

    def _connect(self, fresh: dict[Call, None], called: list[Call]) -> None:
        used: dict[Call, None] = {}
        doubtful: list[tuple[Call, list[Call]]] = []
        for call in called:
            sources = self._evidence.sources(call)
            if any(source in fresh for source in sources):
                self._follow(call, (), sources, used)
                self._learn(call)
            else:
                doubtful.append((call, sources))
        if doubtful:
            only = tuple(fresh | self._open)
            if len(only) <= 1:
                for call, sources in doubtful:
                    self._follow(call, only, sources, used)
                    self._learn(call)
            else:
                self._connect_doubtful(fresh, doubtful, used)
        self._close(used)

    def _connect_doubtful(
        self, fresh: dict[Call, None], doubtful: list[tuple[Call, list[Call]]], used: dict[Call, None]
    ) -> None:
        lanes: dict[tuple[Key, Key], deque[Call]] = {}
        left: list[tuple[Call, list[Call]]] = []
        for call, sources in doubtful:
            ends = self._as_usual(call, fresh, lanes)
            if ends:
                self._follow(call, ends, sources, used)
            else:
                left.append((call, sources))
        if not left:
            return
        free = [end for end in fresh if end not in used]
        idle = [end for end in self._open if end not in fresh and end not in used]
        if len(free) == len(left) and not idle:
            for end, (call, sources) in zip(free, left, strict=True):
                self._follow(call, (end,), sources, used)
            return
        # One tuple for all: a fan of a thousand behind a thousand stays small.
        ends = (*(free or fresh), *idle)
        for call, sources in left:
            self._follow(call, ends, sources, used)

    def _as_usual(
        self, call: Call, fresh: dict[Call, None], lanes: dict[tuple[Key, Key], deque[Call]]
    ) -> _Ends:
        """The ends that a call follows if it follows what others of its kind did; empty if that does not fit."""
        habit = self._habits.get(call.key, {})
        if list(habit.values()) == [1]:
            (before,) = habit
            lane = lanes.get((call.key, before))
            if lane is None:
                mine = deque(end for end in fresh if end.key == before)
                # One that ended before and led to nothing says that calls of this kind wait for several.
                alone = len(self._open_by_key.get(before, ())) == len(mine)
                lane = lanes[call.key, before] = mine if alone else deque[Call]()
            return (lane.popleft(),) if lane else ()
        ends: list[Call] = []
        for before, count in habit.items():
            there = self._open_by_key.get(before, {})
            if len(there) != count:
                return ()
            ends += there
        return tuple(ends) if not fresh or any(end in fresh for end in ends) else ()

    def _follow(self, call: Call, ends: _Ends, sources: list[Call], used: dict[Call, None]) -> None:
        call.follows = self._direct((*ends, *sources)) if sources else ends
        used.update(dict.fromkeys(call.follows))

    def _learn(self, call: Call) -> None:
        if 0 < len(call.follows) <= _MAX_HABIT:
            self._habits[call.key] = Counter(end.key for end in call.follows)

    def _direct(self, ends: _Ends) -> _Ends:
        """Without those that others among them follow already."""
        found = dict.fromkeys(ends)
        older = [end for end in found if end not in self._open]
        if not older or len(found) == 1:
            return tuple(found)
        todo, seen = deque(end for call in found for end in call.follows), set[Call]()
        while todo and len(seen) < _MAX_LOOKED_AT:
            call = todo.popleft()
            if call not in seen:
                seen.add(call)
                todo.extend(call.follows[:_MAX_LOOKED_AT])
        # What a search cut short does not say is most likely behind the others.
        dropped = set(older) & seen if not todo else set(older)
        return tuple(end for end in found if end not in dropped) or ends[:1]


def _without_hidden(order: list[Call]) -> list[Call]:
    """The calls that are shown; what follows a hidden one follows what that one followed."""
    # By identity: calls share their ends. Both tuples are kept, so that no identity is used twice.
    shown: dict[int, tuple[_Ends, _Ends]] = {}
    for call in order:
        ends = call.follows
        if id(ends) not in shown:
            if not any(end.hidden for end in ends):
                now = ends
            elif len(ends) == 1:
                now = ends[0].follows
            else:
                flat = (inner for end in ends for inner in (end.follows if end.hidden else (end,)))
                now = tuple(dict.fromkeys(flat))
            shown[id(ends)] = ends, now
        call.follows = shown[id(ends)][1]
    return [call for call in order if not call.hidden]
