"""What a step raises that leaves its worker before it has begun."""

from __future__ import annotations

from temporalio.exceptions import ApplicationError

from holdfast.engine.failures import ATTEMPT, BREAKER_KEY, LIMITED


class NotYet(Exception):
    """It is not a step's turn for some seconds, so that it leaves its worker until then.

    Args:
        why: In a sentence.
        delay: The seconds.
        breaker: The key of the circuit breaker that it waits for. Default: it waits for its turn under a limit.
        attempts: How many attempts were made before.
    """

    def __init__(self, why: str, delay: float, *, breaker: str | None = None, attempts: int = 0) -> None:
        super().__init__(why)
        self.delay = delay
        self._told = {BREAKER_KEY: breaker, ATTEMPT: attempts}

    @property
    def failure(self) -> ApplicationError:
        """What the run gets, which schedules the step again."""
        told = [self._told] if self._told[BREAKER_KEY] is not None else []
        return ApplicationError(str(self), self.delay, *told, type=LIMITED, non_retryable=True)
