"""`holdfast.breaker`: one small run per key whose service fails, which knows whether anybody may call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from temporalio import workflow

BREAKER: Final = "holdfast.breaker"
PREFIX: Final = "holdfast-breaker/"
STATE_MEMO: Final = "holdfast.breaker"
"""What a breaker's run shows of itself: `state`, `failures`, `until` (ISO) and `opened` (how often)."""

LEASE_SECONDS: Final = 15.0
"""A call that tries whether the service is back, and of which nothing was heard for so long, is lost."""

_ASK_AGAIN: Final = 1.0
_TURNS: Final = 500
_IDLE: Final = timedelta(minutes=2)

State = Literal["closed", "open", "half-open"]
What = Literal["failed", "succeeded", "asks", "tries", "gone"]


@dataclass(kw_only=True)
class Said:
    """What one worker tells of one attempt."""

    what: What
    """`failed`, `succeeded`: how it ended. `asks`: it wants to begin. `tries`: it is the one that tries, and is at
    work. `gone`: it ended without a word about the service."""
    holder: str
    """Names the attempt."""
    failures: int
    reset: float
    at: float
    """When the attempt was scheduled, by the server's clock; later than the clock here where a test skips time."""


@dataclass(kw_only=True)
class Circuit:
    """Pure: it is told the time, in seconds, always by the same clock."""

    failed: list[float] = field(default_factory=list[float])
    """When the failures in a row were."""
    until: float = 0.0
    """Until when it is open; 0 where it is closed. After that it is half-open."""
    opened: int = 0
    """How often it has opened."""
    tries: str | None = None
    """The attempt that tries whether the service is back."""
    tries_until: float = 0.0

    def hear(self, said: Said, now: float) -> float | None:
        """Hear of an attempt. Returns the seconds after which one is to ask (again); None where it may call."""
        mine = self.tries == said.holder
        match said.what:
            case "failed" if mine or not self.until:
                self._failed(said, now, at_once=mine)
            case "succeeded" if mine or not self.until:
                # What began before it opened, and ends well after, says nothing of now.
                self.until, self.failed, self.tries = 0.0, [], None
            case "gone" if mine:
                self.tries = None
            case "tries" if mine:
                self.tries_until = now + LEASE_SECONDS
            case "asks" if self.until and self.until <= now:
                if mine or self.tries is None or self.tries_until <= now:
                    self.tries, self.tries_until = said.holder, now + LEASE_SECONDS
                    return None
                return _ASK_AGAIN
            case _:
                pass
        return max(self.until - now, _ASK_AGAIN) if self.until else None

    def _failed(self, said: Said, now: float, *, at_once: bool) -> None:
        self.failed = [*(at for at in self.failed if at + said.reset > now), now][-said.failures :]
        if at_once or len(self.failed) >= said.failures:
            self.until, self.tries = now + said.reset, None
            self.opened += 1

    def state(self, now: float) -> State:
        """As people call it."""
        if not self.until:
            return "closed"
        return "open" if now < self.until else "half-open"


@workflow.defn(name=BREAKER, sandboxed=False)
class BreakerRun:
    """The run of one key. It ends two minutes after it was last heard of, if it is not open then."""

    @workflow.init
    def __init__(self, state: Mapping[str, Any] | None) -> None:
        self._circuit = Circuit(**(state or {}))
        self._turns = 0
        self._shown: tuple[float, int, int] | None = None

    @workflow.run
    async def run(self, state: Mapping[str, Any] | None) -> None:
        """Answer until nobody asks."""
        del state
        while True:
            before = self._turns
            try:
                await workflow.wait_condition(lambda: self._turns >= _TURNS, timeout=_IDLE)
            except TimeoutError:
                if self._turns == before and self._circuit.until <= workflow.now().timestamp():
                    return
            else:
                workflow.continue_as_new(args=[asdict(self._circuit)])

    @workflow.update
    def said(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Hear of one attempt."""
        self._turns += 1
        circuit, now = self._circuit, max(workflow.now().timestamp(), said["at"])
        delay = circuit.hear(Said(**said), now)
        shows = (circuit.until, len(circuit.failed), circuit.opened)
        if shows != self._shown:
            self._shown = shows
            until = datetime.fromtimestamp(circuit.until, UTC).isoformat() if circuit.until else None
            workflow.upsert_memo(
                {
                    STATE_MEMO: {
                        "until": until,
                        "failures": len(circuit.failed),
                        "opened": circuit.opened,
                        "reset": said["reset"],
                    }
                }
            )
        return {"delay": delay, "until": circuit.until, "state": circuit.state(now)}
