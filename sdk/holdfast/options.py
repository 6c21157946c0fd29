"""Options given at a declaration (`@step`, `@workflow`) or for one call (`with_options`)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar, cast, final

from holdfast.breaking import Breaker, breaker_of
from holdfast.checks import check_duration as check_duration
from holdfast.checks import check_made as check_made
from holdfast.checks import check_name
from holdfast.errors import InvalidConfiguration

T = TypeVar("T")


@final
class _Unset:
    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = _Unset()
"""Marks an argument that was not given, where `None` is a value of its own."""

MINUTE = timedelta(minutes=1)
DEFAULT_QUEUE = "default"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a failed step is tried again.

    A step that raises `Permanent`, or an exception named in `non_retryable`, is not tried again.
    """

    max_attempts: int = 3
    """Attempts in all, the first one included. 0 means without limit."""

    first_delay: timedelta = timedelta(seconds=1)
    """Time between the first failure and the second attempt. More than zero."""

    backoff: float = 2.0
    """Each further delay is the last one times this. At least 1."""

    max_delay: timedelta = timedelta(seconds=60)
    """No delay is longer than this."""

    jitter: float = 0.1
    """Each delay is changed at random by up to this share, so that failed steps do not return together. 0 to 1."""

    non_retryable: tuple[type[BaseException] | str, ...] = ()
    """Exceptions, or their class names, that end the step at once."""

    def __post_init__(self) -> None:
        if self.max_attempts < 0:
            raise InvalidConfiguration(f"max_attempts={self.max_attempts!r}: use 0 (no limit) or more")
        check_duration("first_delay", self.first_delay)
        check_duration("max_delay", self.max_delay)
        if self.backoff < 1:
            raise InvalidConfiguration(f"backoff={self.backoff!r}: use 1.0 (constant) or more")
        if self.max_delay < self.first_delay:
            raise InvalidConfiguration(
                f"max_delay={self.max_delay!r} is shorter than first_delay={self.first_delay!r}"
            )
        if not 0 <= self.jitter <= 1:
            raise InvalidConfiguration(f"jitter={self.jitter!r}: use a share between 0 and 1")

    @property
    def non_retryable_names(self) -> list[str]:
        """The class names of `non_retryable`."""
        return [item if isinstance(item, str) else item.__name__ for item in self.non_retryable]


NAMED_RETRIES: Final[Mapping[str, RetryPolicy]] = {
    "none": RetryPolicy(max_attempts=1),
    "standard": RetryPolicy(),
    "quick": RetryPolicy(
        max_attempts=5, first_delay=timedelta(milliseconds=100), max_delay=timedelta(seconds=2)
    ),
    "patient": RetryPolicy(
        max_attempts=10, first_delay=timedelta(seconds=5), max_delay=timedelta(minutes=10)
    ),
    "forever": RetryPolicy(max_attempts=0, max_delay=timedelta(minutes=5)),
}
"""The retry policies that `retry="name"` may name."""


def retry_policy(value: RetryPolicy | str) -> RetryPolicy:
    """The policy itself, or the one of that name.

    Raises:
        InvalidConfiguration: No policy has that name.
    """
    if isinstance(value, RetryPolicy):
        return value
    try:
        return NAMED_RETRIES[value]
    except (KeyError, TypeError):
        known = ", ".join(NAMED_RETRIES)
        raise InvalidConfiguration(
            f"retry={value!r} is not known; use RetryPolicy(...) or one of: {known}"
        ) from None


_RATE: Final = re.compile(r"(\d+)/(s|min|h)", re.ASCII)
_PERIODS: Final = {"s": timedelta(seconds=1), "min": MINUTE, "h": timedelta(hours=1)}
_MOST: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What all workers together let through at a time, or in a time, for one key."""

    key: str
    """Whatever has the same key shares the limit. `{name}` stands for the step's argument of that name, attributes
    included: `"tenant-{order.tenant}"`."""

    concurrency: int | None = None
    """How many run at the same time, 1 to 1,000. Default: no limit."""

    rate: str | None = None
    """How many begin in a second, a minute or an hour: `"10/s"`, `"600/min"`, `"1000/h"`, 1 to 1,000. Default: no
    limit."""

    def __post_init__(self) -> None:
        if not self.key:
            raise InvalidConfiguration("key='': a limit has a key")
        if self.concurrency is None and self.rate is None:
            raise InvalidConfiguration(
                f"the limit {self.key!r} limits nothing: give it concurrency= or rate="
            )
        if self.concurrency is not None and not 1 <= self.concurrency <= _MOST:
            raise InvalidConfiguration(f"concurrency={self.concurrency!r}: use 1 to {_MOST}")
        if self.rate is not None and not (_RATE.fullmatch(self.rate) and 1 <= (self.count or 0) <= _MOST):
            raise InvalidConfiguration(
                f"rate={self.rate!r}: write '10/s', '600/min' or '1000/h', with 1 to {_MOST}; what is more in an "
                "hour is less in a minute"
            )

    @property
    def count(self) -> int | None:
        """How many begin within `period`."""
        return None if self.rate is None else int(self.rate.partition("/")[0])

    @property
    def period(self) -> timedelta:
        """The time of `rate`."""
        return _PERIODS[(self.rate or "1/s").partition("/")[2]]


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What may be set on a step. Safe to change for open runs, except `local`."""

    timeout: timedelta | None = None
    """How long one attempt may run. Default: 5 minutes; 10 seconds for a local step; no limit of its own for a
    deferred step beyond 30 days."""

    retry: RetryPolicy = RetryPolicy()
    """How failures are tried again. Also by name: `retry="patient"`."""

    heartbeat: timedelta | None = timedelta(seconds=6)
    """A worker that dies is noticed after this time. `None`: only after `timeout`. Beats are sent by themselves,
    from a thread of their own."""

    local: bool = False
    """Runs inside the workflow task: about seven times faster in a chain, for steps under a second. After a crash all
    local steps since the last report run again, so they must be safe to repeat. Queries, updates and cancels wait
    for it. Not safe to change for open runs."""

    idempotent: bool = False
    """States that running it again does no harm. A local step with a compensation must state it."""

    deferred: bool = False
    """The step ends when somebody completes it by its token (`step_info().token`), not when the function returns."""

    process: bool = False
    """Runs in a worker process: for sync functions that compute. Arguments and results travel as JSON."""

    queue: str | None = None
    """The queue whose workers run it. Default: the run's own."""

    priority: int | None = None
    """1 (first) to 5 (last); the server's default is 3."""

    summary: str | None = None
    """One line that Temporal's UI and `runs show` print beside the step."""

    limit: Limit | None = None
    """How many of it, and of what else has the key, run or begin over all workers."""

    breaker: Breaker | None = None
    """Failures of it, and of what else has the key, keep all workers from calling it for a while. Also by name:
    `breaker="payment"`."""

    def __post_init__(self) -> None:
        check_duration("timeout", self.timeout)
        check_duration("heartbeat", self.heartbeat)
        if self.queue is not None:
            check_name("queue", self.queue, error=InvalidConfiguration)
        if self.priority is not None and not 1 <= self.priority <= 5:
            raise InvalidConfiguration(f"priority={self.priority!r}: use 1 (first) to 5 (last)")
        if self.local and (self.deferred or self.process or self.queue):
            raise InvalidConfiguration(
                "local=True runs inside the workflow task: drop deferred, process and queue"
            )
        if self.limit is not None:
            check_made("limit", self.limit, Limit)
        if self.breaker is not None:
            check_made("breaker", self.breaker, Breaker)
            if self.local or self.deferred:
                raise InvalidConfiguration(
                    "a step with breaker= waits before it begins and tells how it ended: drop local and deferred"
                )
        if self.limit is not None and (self.local or self.deferred):
            raise InvalidConfiguration(
                "a step with limit= waits before it begins and gives its place back when its function ends: drop local "
                "and deferred"
            )
        if self.deferred and self.process:
            raise InvalidConfiguration("a deferred step is completed from outside: drop process=True")

    @property
    def attempt_timeout(self) -> timedelta:
        """How long one attempt may run, the default applied."""
        if self.timeout is not None:
            return self.timeout
        if self.deferred:
            return timedelta(days=30)
        return timedelta(seconds=10) if self.local else timedelta(minutes=5)

    @property
    def heartbeat_timeout(self) -> timedelta | None:
        """The heartbeat timeout in force: none for local and deferred steps."""
        return None if self.local or self.deferred else self.heartbeat


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """What an executor says of itself. A node may change timeout and retry."""

    timeout: timedelta = timedelta(minutes=5)
    """How long one attempt may run."""

    retry: RetryPolicy = RetryPolicy()
    """How failures are tried again."""

    heartbeat: timedelta | None = timedelta(seconds=6)
    """A worker that dies is noticed after this time. `None`: only after `timeout`."""

    has_effects: bool = True
    """Whether it changes something outside the run, so that undoing it can have a meaning."""

    idempotent: bool = False
    """States that running it again with the same idempotency key does no harm."""

    local: bool = False
    """Whether it may run inside the workflow task, where a crash runs it again: only with `idempotent`, and for work
    under a second."""

    code_fields: tuple[str, ...] = ()
    """The fields of the config that hold code, such as SQL. Templates in them are refused in documents: what they put
    in could come from anywhere, and would be carried out."""

    def __post_init__(self) -> None:
        if cast("object", self.timeout) is None:
            raise InvalidConfiguration("timeout=None: an attempt ends at some time; write timedelta(...)")
        check_duration("timeout", self.timeout)
        check_duration("heartbeat", self.heartbeat)
        check_made("retry", self.retry, RetryPolicy)
        for name in ("has_effects", "idempotent", "local"):
            value: object = getattr(self, name)
            if not isinstance(value, bool):
                raise InvalidConfiguration(f"{name}={value!r}: write True or False")
        fields = cast("object", self.code_fields)
        names = cast("tuple[object, ...]", () if isinstance(fields, str) else fields)
        if isinstance(fields, str) or not all(isinstance(one, str) for one in names):
            raise InvalidConfiguration(
                f"code_fields={fields!r}: write a tuple of names, such as ('statement',)"
            )
        if self.local and not self.idempotent:
            raise InvalidConfiguration(
                "local=True may run an executor again after a crash: state idempotent=True, or drop local"
            )

    @property
    def step(self) -> StepOptions:
        """The same for the step that carries the executor out."""
        return StepOptions(
            timeout=self.timeout, retry=self.retry, heartbeat=self.heartbeat, idempotent=self.idempotent
        )


@dataclass(frozen=True, kw_only=True)
class WorkflowOptions:
    """What may be set on a workflow."""

    queue: str = DEFAULT_QUEUE
    """The queue whose workers run it."""

    timeout: timedelta | None = None
    """How long a run may take; a timer inside the run, so that compensation still happens. Default: no limit."""

    task_timeout: timedelta | None = None
    """How long one workflow task may take. Default: the server's 10 s, or 2 s for a workflow that names a local
    step."""

    sandboxed: bool = True
    """Whether clocks, chance and I/O are refused in its code."""

    versioning: str | None = None
    """`"pinned"`: a run stays on the build that started it; `"auto_upgrade"`: it moves to the newest one. Only for
    workers with `deployment=`."""

    def __post_init__(self) -> None:
        check_duration("timeout", self.timeout)
        check_duration("task_timeout", self.task_timeout)
        check_name("queue", self.queue, error=InvalidConfiguration)
        if self.versioning not in (None, "pinned", "auto_upgrade"):
            raise InvalidConfiguration(f'versioning={self.versioning!r}: use "pinned" or "auto_upgrade"')


def changed(options: T, changes: Mapping[str, Any], *, also: Iterable[str] = ()) -> T:
    """The same options with some fields replaced; fields that are `UNSET` stay.

    Args:
        options: The options so far.
        changes: New values by field.
        also: What the caller takes besides, for the message.

    Raises:
        InvalidConfiguration: An option does not exist.
    """
    given = {name: value for name, value in changes.items() if value is not UNSET}
    known = {field.name for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise InvalidConfiguration(
                f"there is no option {name!r}; known: {', '.join(sorted({*known, *also}))}"
            )
    if "retry" in given:
        given["retry"] = retry_policy(given["retry"])
    if "breaker" in given:
        given["breaker"] = breaker_of(given["breaker"])
    return dataclasses.replace(options, **given)  # type: ignore[type-var]
