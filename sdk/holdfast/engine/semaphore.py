"""`holdfast.semaphore`: one small run per key, which knows who may go and who waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow

LEASE_SECONDS: Final = 6.0
"""A holder that has not been heard of for so long is gone."""

_KEPT_SECONDS: Final = 15.0
"""How long a place in the line is kept for one who was to come back earlier."""

_SHORTEST, _LONGEST = 0.05, 30.0
"""Seconds until one who waits is to ask again."""

_SOON, _LATE = 0.25, 1.0
"""Who stands in the line before others comes first if it asks within so many seconds, or should have so long ago."""

_AT_ONCE: Final = 1.0
"""A call reaches its service within so many seconds from its start, or before its end."""

_MOST: Final = 1000
"""The highest number of a limit."""

_TURNS: Final = 500
"""After so many messages it continues as new: a run takes at most 2,000."""

_IDLE: Final = timedelta(minutes=1)


@dataclass(kw_only=True)
class Turn:
    """What one worker has to say about one key."""

    concurrency: int | None
    count: int | None
    period: float
    asking: list[str] = field(default_factory=list[str])
    """Who wants to begin."""
    holding: dict[str, float] = field(default_factory=dict[str, float])
    """Who is at work, and since how many seconds."""
    ended: dict[str, float] = field(default_factory=dict[str, float])
    """Who is done, and how many seconds it took."""


@dataclass(kw_only=True)
class Answer:
    """What a worker learns."""

    granted: list[str] = field(default_factory=list[str])
    """Who begins."""
    delays: dict[str, float] = field(default_factory=dict[str, float])
    """In how many seconds the others are to ask again."""


@dataclass(kw_only=True)
class Places:
    """Who holds a place, who waits for one, and which of the rate's tokens are out. Pure: it is told the time."""

    held: dict[str, float] = field(default_factory=dict[str, float])
    """Until when each holder's lease runs."""
    waiting: dict[str, float] = field(default_factory=dict[str, float])
    """In the order of the line: when each one is to ask again."""
    tokens: dict[str, float | None] = field(default_factory=dict[str, float | None])
    """When each call counts as made; None while its start is not known."""
    period: float = 0.0
    """The longest one of a rate that was asked by; calls are known for so long."""
    granted: list[float] = field(default_factory=list[float])
    """When the last places were given."""

    def take(self, turn: Turn, now: float) -> Answer:
        """Hear what a worker says, and answer whom it asks for."""
        for holder, seconds in turn.ended.items():
            self.held.pop(holder, None)
            self.waiting.pop(holder, None)
            self._started(holder, seconds, now)
        for holder, seconds in turn.holding.items():
            self.held[holder] = now + LEASE_SECONDS
            self._started(holder, seconds, now)
        self._forget(turn, now)
        answer = Answer()
        for holder in turn.asking:
            if holder not in self.held:
                self.waiting[holder] = now  # one who was in the line keeps its place
        for holder in turn.asking:
            ahead = 0 if holder in self.held else self._ahead(holder, now)
            free = self._free(turn, now)
            if holder in self.held or ahead < free:
                self._grant(holder, now)
                answer.granted.append(holder)
            else:
                delay = self._delay(ahead - free + 1, now)
                self.waiting[holder] = now + delay
                answer.delays[holder] = delay
        return answer

    def _started(self, holder: str, seconds: float, now: float) -> None:
        if holder in self.tokens and self.tokens[holder] is None:
            # Counted from the end of a short call, since its service may have seen it as late as that.
            self.tokens[holder] = now - max(0.0, seconds - _AT_ONCE)

    def _forget(self, turn: Turn, now: float) -> None:
        for holder in [holder for holder, until in self.held.items() if until <= now]:
            del self.held[holder]
            self._started(holder, 0.0, now)
        self.waiting = {name: at for name, at in self.waiting.items() if at + _KEPT_SECONDS > now}
        if turn.count is not None:
            self.period = max(self.period, turn.period)
        self.tokens = {name: at for name, at in self.tokens.items() if at is None or at + self.period > now}
        # No rate allows more, so that older ones make no difference.
        for name in sorted(self.tokens, key=lambda name: self.tokens[name] or now)[:-_MOST]:
            del self.tokens[name]

    def _free(self, turn: Turn, now: float) -> float:
        places = float("inf") if turn.concurrency is None else turn.concurrency - len(self.held)
        if turn.count is None:
            return places
        begun = sum(at is None or at + turn.period > now for at in self.tokens.values())
        return min(places, turn.count - begun)

    def _ahead(self, holder: str, now: float) -> int:
        """How many stand before one in the line who will be here before long; the others keep their places only."""
        ahead = 0
        for name, at in self.waiting.items():
            if name == holder:
                break
            ahead += now - _LATE <= at <= now + _SOON
        return ahead

    def _grant(self, holder: str, now: float) -> None:
        self.waiting.pop(holder, None)
        if holder not in self.held:
            self.granted = [*self.granted[-19:], now]
            if self.period:  # callers without a rate count for those that have one
                self.tokens[holder] = None
        self.held[holder] = now + LEASE_SECONDS

    def _delay(self, turns: float, now: float) -> float:
        """When one's turn may have come, from how fast places were given lately; rather early than late."""
        if len(self.granted) < 2:
            return _SHORTEST * 2
        gap = (now - self.granted[0]) / len(self.granted)
        return min(max(gap * turns / 2, _SHORTEST), _LONGEST)


@workflow.defn(name="holdfast.semaphore", sandboxed=False)
class Semaphore:
    """The run of one key. It ends a minute after its last holder."""

    @workflow.init
    def __init__(self, state: Mapping[str, Any] | None) -> None:
        self._places = Places(**(state or {}))
        self._turns = 0

    @workflow.run
    async def run(self, state: Mapping[str, Any] | None) -> None:
        """Answer until nobody asks."""
        del state
        while True:
            before = self._turns
            try:
                await workflow.wait_condition(lambda: self._turns >= _TURNS, timeout=_IDLE)
            except TimeoutError:
                if self._turns == before:
                    return
            else:
                workflow.continue_as_new(args=[asdict(self._places)])

    @workflow.update
    def turn(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Hear and answer one worker."""
        self._turns += 1
        return asdict(self._places.take(Turn(**said), workflow.now().timestamp()))
