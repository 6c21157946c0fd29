"""Circuit breakers that have met failures lately."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from temporalio.service import RPCError

from holdfast.client.start import unavailable
from holdfast.jsonable import Jsonable

if TYPE_CHECKING:
    from holdfast.client.client import Client

# As in engine/breaker_run.py, which not every client loads.
_RUNS: Final = 'WorkflowType = "holdfast.breaker" AND ExecutionStatus = "Running"'
_PREFIX: Final = "holdfast-breaker/"
_STATE: Final = "holdfast.breaker"


@dataclass(frozen=True, kw_only=True)
class BreakerInfo(Jsonable):
    """One circuit breaker."""

    key: str
    state: Literal["closed", "open", "half-open"]
    """`closed`: everybody may call. `open`: nobody, until `until`. `half-open`: one call tries, when somebody comes."""

    failures: int
    """Failures in a row, none older than the breaker's `reset`."""

    until: datetime | None
    """Until when it is, or was, open."""

    opened: int
    """How often it has opened since it began to count."""


class Breakers:
    """Which services are not called for a while, over all workers: `client.breakers`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(self) -> builtins.list[BreakerInfo]:
        """The breakers that have met a failure lately, by key. One that is not listed is closed.

        Raises:
            Unavailable: The server does not answer.
        """
        temporal = self._client.temporal
        found: list[BreakerInfo] = []
        try:
            async for run in temporal.list_workflows(_RUNS):
                shown: Any = await run.memo_value(_STATE, {})
                found.append(_read(run.id.removeprefix(_PREFIX), shown))
        except RPCError as error:
            raise unavailable(error) from error
        return sorted(found, key=lambda one: one.key)


def _read(key: str, shown: Any) -> BreakerInfo:
    until = datetime.fromisoformat(shown["until"]) if shown.get("until") else None
    if until is None:
        state: Literal["closed", "open", "half-open"] = "closed"
    else:
        state = "open" if datetime.now(UTC) < until else "half-open"
    return BreakerInfo(
        key=key,
        state=state,
        failures=shown.get("failures", 0),
        until=until,
        opened=shown.get("opened", 0),
    )
