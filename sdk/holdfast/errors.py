"""Every error that Holdfast raises, grouped by what the caller does next.

    HoldfastError
    ├── FixInput                     change the code or the value, then call again
    │   ├── InvalidInput             HF-1001  a value does not fit its declared type or rule
    │   ├── InvalidStep              HF-1002  a @step cannot be used as written
    │   ├── InvalidWorkflow          HF-1003  a @workflow cannot be used as written
    │   ├── PayloadTooLarge          HF-1004  a value is larger than may travel
    │   ├── NotInWorkflow            HF-1005  called outside the place it belongs to
    │   ├── AlreadyStarted           HF-1006  the run id is taken; carries that run
    │   ├── NotFound                 HF-1007  no run, step or definition of that name
    │   ├── RunClosed                HF-1008  the run has ended and takes no messages
    │   ├── AlreadyDecided           HF-1009  the wait was answered before
    │   ├── NonDeterministic         HF-1010  workflow code used a clock, chance or I/O
    │   ├── InvalidConfiguration     HF-1011  a setting or option cannot work
    │   ├── InvalidExecutor          HF-1012  an executor cannot be used as written, or not be loaded
    │   ├── Conflict                 HF-1013  somebody else changed it first
    │   └── EventsLost               HF-1014  events were deleted before they were taken
    ├── TryAgain                     wait, then call again
    │   ├── Unavailable              HF-2001  the server, a worker or a binary cannot be reached
    │   ├── RateLimited              HF-2002  too many calls; `retry_after` says how long to wait
    │   └── WaitTimeout              HF-2003  nobody answered in time
    ├── GiveUp                       the work has ended without a result
    │   ├── StepFailed               HF-3001  a step used up its attempts, or failed for good
    │   ├── RunFailed                HF-3002  the run ended failed
    │   ├── RunCancelled             HF-3003  the run was cancelled
    │   ├── RunTerminated            HF-3004  the run was terminated
    │   ├── RunTimedOut              HF-3005  the run exceeded its timeout
    │   └── BudgetExceeded           HF-3006  a limit of money, tokens or time is used up
    └── NotAllowed                   HF-4001  the caller may not do this

Two exceptions are for step code to raise: `Permanent` (never retry) and `RetryAfter` (retry, but not before).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar


class HoldfastError(Exception):
    """The root of every error Holdfast raises.

    Attributes:
        code: A stable code such as `HF-1001`; it never changes its meaning.
        message: What happened, with which value, and what to do next.
    """

    code: ClassVar[str] = "HF-0000"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.details, self.__dict__.copy()))


def _rebuild(
    cls: type[HoldfastError], message: str, details: dict[str, Any], state: dict[str, Any]
) -> HoldfastError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    error.message, error.details = message, details
    return error


class FixInput(HoldfastError):
    """The call was wrong: change the code or the value."""

    code = "HF-1000"


class InvalidInput(FixInput):
    """A value does not fit its declared type or rule; nothing was sent."""

    code = "HF-1001"


class InvalidStep(FixInput):
    """A `@step` cannot be used as written."""

    code = "HF-1002"


class InvalidWorkflow(FixInput):
    """A `@workflow` cannot be used as written."""

    code = "HF-1003"


class PayloadTooLarge(FixInput):
    """A value is larger than may travel; store it elsewhere and pass a reference."""

    code = "HF-1004"


class NotInWorkflow(FixInput):
    """Called outside the place it belongs to."""

    code = "HF-1005"


class AlreadyStarted(FixInput):
    """The run id is taken, by an open or a closed run.

    Attributes:
        run: The run that has the id. `None` after the error crossed a process boundary.
    """

    code = "HF-1006"

    def __init__(self, message: str, run: Any = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.run = run

    def __reduce__(self) -> tuple[Any, ...]:
        state = self.__dict__.copy()
        state["run"] = None
        return (_rebuild, (type(self), self.message, self.details, state))


class NotFound(FixInput):
    """No run, step, wait or definition of that name."""

    code = "HF-1007"


class RunClosed(FixInput):
    """The run has ended and takes no messages."""

    code = "HF-1008"


class AlreadyDecided(FixInput):
    """The wait was answered before; the first answer stands."""

    code = "HF-1009"


class NonDeterministic(FixInput):
    """Workflow code used a clock, chance or I/O; the message names what to use instead."""

    code = "HF-1010"


class InvalidConfiguration(FixInput):
    """A setting or option cannot work on this machine or with the other options."""

    code = "HF-1011"


class InvalidExecutor(FixInput):
    """An executor cannot be used as written, or its package cannot be loaded; the message names the package."""

    code = "HF-1012"


class Conflict(FixInput):
    """Somebody else changed it since it was read: look at what it is now, then decide again."""

    code = "HF-1013"


class EventsLost(FixInput):
    """Events were deleted before they were taken.

    Attributes:
        resume_after: The cursor after which to go on; what was before it is lost.
    """

    code = "HF-1014"

    def __init__(self, message: str, *, resume_after: int = 0, **details: Any) -> None:
        super().__init__(message, **details)
        self.resume_after = resume_after


class TryAgain(HoldfastError):
    """The call may succeed later."""

    code = "HF-2000"


class Unavailable(TryAgain):
    """The server, a worker or a binary cannot be reached."""

    code = "HF-2001"


class RateLimited(TryAgain):
    """Too many calls.

    Attributes:
        retry_after: How long to wait, if known.
    """

    code = "HF-2002"

    def __init__(self, message: str, retry_after: timedelta | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class WaitTimeout(TryAgain):
    """Nobody answered a `wait_for` or an `approval` in time."""

    code = "HF-2003"


class GiveUp(HoldfastError):
    """The work has ended without a result."""

    code = "HF-3000"


class StepFailed(GiveUp):
    """A step used up its attempts or failed for good.

    Attributes:
        step: The step's name.
        error_type: The class name of the exception the step raised.
        attempts: How many attempts were made, if known.
    """

    code = "HF-3001"

    def __init__(
        self,
        message: str,
        step: str = "",
        error_type: str = "",
        attempts: int | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.step = step
        self.error_type = error_type
        self.attempts = attempts


class RunFailed(GiveUp):
    """The run ended failed.

    Attributes:
        run_id: The run.
        error_type: The class name of the exception the workflow raised.
    """

    code = "HF-3002"

    def __init__(self, message: str, run_id: str = "", error_type: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.run_id = run_id
        self.error_type = error_type


class RunCancelled(RunFailed):
    """The run was cancelled."""

    code = "HF-3003"


class RunTerminated(RunFailed):
    """The run was terminated; none of its code ran after that, compensation included."""

    code = "HF-3004"


class RunTimedOut(RunFailed):
    """The run exceeded its timeout."""

    code = "HF-3005"


class BudgetExceeded(GiveUp):
    """A limit of money, tokens or time is used up."""

    code = "HF-3006"


class NotAllowed(HoldfastError):
    """The caller may not do this."""

    code = "HF-4001"


class Permanent(Exception):
    """Raised by a step: this will not get better, do not retry."""


class RetryAfter(Exception):
    """Raised by a step: retry, but not before `delay` has passed.

    Args:
        delay: The time to the next attempt. It replaces the retry policy's own delay once.
        message: What happened.
    """

    def __init__(self, delay: timedelta, message: str = "") -> None:
        super().__init__(delay, message)
        self.delay = delay
        self.message = message

    def __str__(self) -> str:
        return self.message or f"retry after {self.delay}"


def error_types() -> dict[str, type[HoldfastError]]:
    """Every error class by its code."""
    found: dict[str, type[HoldfastError]] = {}
    todo: list[type[HoldfastError]] = [HoldfastError]
    while todo:
        cls = todo.pop(0)
        found.setdefault(cls.code, cls)  # a narrower class of another module may share the code of its base
        todo.extend(cls.__subclasses__())
    return found
