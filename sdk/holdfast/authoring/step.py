"""`@step`: a function whose completed result is never lost and never made twice."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, TypeVarTuple, cast, overload

from holdfast.authoring import scope
from holdfast.authoring.depends import Dependency, resolve_outside
from holdfast.authoring.registry import registry
from holdfast.authoring.signature import Signature, where
from holdfast.breaking import Breaker
from holdfast.errors import InvalidStep
from holdfast.options import UNSET, Limit, RetryPolicy, StepOptions, changed

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R2 = TypeVar("R2")
S = TypeVar("S")
Ts = TypeVarTuple("Ts")

COMPENSATION_RETRY = RetryPolicy(max_attempts=10, max_delay=timedelta(minutes=5))


@dataclass(frozen=True, kw_only=True)
class Compensation:
    """The function that undoes a step. It takes the step's arguments, then its result (`None` when unknown)."""

    name: str
    fn: Callable[..., Any]
    signature: Signature
    options: StepOptions


class Step(Generic[P, R]):
    """A declared step. Inside a workflow a call is durable; elsewhere it is the plain function, awaited.

    Attributes:
        fn: The plain function.
        name: The name under which workers serve it.
        aliases: Former names that workers serve too.
        options: The options in force.
    """

    def __init__(
        self, fn: Callable[..., Any], *, name: str | None, aliases: Sequence[str], options: StepOptions
    ) -> None:
        self.fn = fn
        self.signature = Signature(fn, kind="step", error=InvalidStep)
        self.name = name or _default_name(fn, self.signature.is_method)
        self.aliases = tuple(aliases)
        self.options = options
        self.compensation: Compensation | None = None
        self.owner: type | None = None
        self._instance: Any = None
        self.__name__ = fn.__name__
        self.__qualname__ = fn.__qualname__
        self.__doc__ = fn.__doc__
        self.__module__ = fn.__module__
        self.__wrapped__ = fn
        if options.process and inspect.iscoroutinefunction(fn):
            raise InvalidStep(
                f"{where(fn)}: process=True is for sync functions that compute; drop async or process"
            )
        if options.process and (self.signature.is_method or self.signature.dependencies):
            raise InvalidStep(
                f"{where(fn)}: process=True runs it in another process, where neither the instance nor Depends(...) "
                "is: make it a plain function of its arguments"
            )

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return inspect.iscoroutinefunction(self.fn)

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner

    @overload
    def __get__(
        self: Step[Concatenate[S, Q], R2], instance: S, owner: type[S] | None = None
    ) -> Step[Q, R2]: ...
    @overload
    def __get__(self: Step[Concatenate[S, Q], R2], instance: None, owner: type[S]) -> Step[Q, R2]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Step[..., Any]:
        if not self.signature.is_method or instance is None:
            return self
        bound = copy.copy(self)
        bound._instance = instance
        return bound

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run the step: durably inside a workflow, as the plain function elsewhere.

        Raises:
            StepFailed: In a workflow: the attempts are used up, or it failed for good.
            InvalidInput: An argument is missing or cannot travel.
        """
        run = scope.current_run()
        if run is None:
            return self._plain(args, kwargs)
        return run.call_step(self, self.signature.bind(args, kwargs))

    async def _plain(self, args: Sequence[Any], kwargs: dict[str, Any]) -> R:
        if self._instance is not None:
            args = (self._instance, *args)
        signature = self.signature
        stand_in = registry().stand_in(self.fn)
        if stand_in is not None:
            return cast(R, await stand_in(signature.sent(args, kwargs)))
        if signature.dependencies:
            given = inspect.signature(self.fn).bind_partial(*args, **kwargs).arguments
            kwargs = kwargs | await resolve_outside(
                {
                    name: dep
                    for name, dep in signature.dependencies.items()
                    if isinstance(given.get(name, dep), Dependency)
                }
            )
        if self.is_async:
            return cast(R, await self.fn(*args, **kwargs))
        return cast(R, await asyncio.to_thread(self.fn, *args, **kwargs))

    def with_options(
        self,
        *,
        timeout: timedelta | Any | None = UNSET,
        retry: RetryPolicy | str | Any = UNSET,
        heartbeat: timedelta | Any | None = UNSET,
        local: bool | Any = UNSET,
        queue: str | Any | None = UNSET,
        priority: int | Any | None = UNSET,
        summary: str | Any | None = UNSET,
    ) -> Step[P, R]:
        """The same step with other options, for one call: `await charge.with_options(summary="order 42")(order)`."""
        other = copy.copy(self)
        changes = {
            "timeout": timeout,
            "retry": retry,
            "heartbeat": heartbeat,
            "local": local,
            "queue": queue,
            "priority": priority,
            "summary": summary,
        }
        other.options = changed(self.options, changes)
        other._check_compensation()
        return other

    @overload
    def compensate(
        self: Callable[[*Ts], Awaitable[R2]],
        fn: Callable[[*Ts, R2], Awaitable[None] | None],
        /,
        *,
        retry: RetryPolicy | str = COMPENSATION_RETRY,
        timeout: timedelta | None = None,
    ) -> Callable[[*Ts, R2], Awaitable[None] | None]: ...
    @overload
    def compensate(
        self: Callable[[*Ts], Awaitable[R2]],
        /,
        *,
        retry: RetryPolicy | str = COMPENSATION_RETRY,
        timeout: timedelta | None = None,
    ) -> Callable[
        [Callable[[*Ts, R2], Awaitable[None] | None]], Callable[[*Ts, R2], Awaitable[None] | None]
    ]: ...
    def compensate(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        retry: RetryPolicy | str = COMPENSATION_RETRY,
        timeout: timedelta | None = None,
    ) -> Any:
        """Declare what undoes this step: `@charge.compensate`, or `@charge.compensate(retry=...)`.

        It runs when the run ends failed or cancelled, in reverse order of completion, once per completed step and
        once per step whose outcome is unknown. It takes the step's parameters and then its result, which is `None`
        when the outcome is unknown.

        Args:
            fn: The function, async or sync. It is retried like a step and must tolerate being called again.
            retry: Default: 10 attempts.
            timeout: Of one attempt. Default: 5 minutes.

        Raises:
            InvalidStep: Its parameters are not the step's and one more.
        """

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            signature = Signature(function, kind="step.compensate", error=InvalidStep)
            wanted = [*self.signature.names, "result"]
            if len(signature.names) != len(wanted):
                raise InvalidStep(
                    f"{where(function)} takes ({', '.join(signature.names)}); a compensation of {self.name!r} takes "
                    f"({', '.join(wanted)}): the step's parameters, then its result"
                )
            self.compensation = Compensation(
                name=f"{self.name}.compensate",
                fn=function,
                signature=signature,
                options=changed(StepOptions(), {"retry": retry, "timeout": timeout}),
            )
            self._check_compensation()
            return function

        return declare if fn is None else declare(fn)

    def _check_compensation(self) -> None:
        if self.compensation and self.options.local and not self.options.idempotent:
            raise InvalidStep(
                f"{where(self.fn)}: a local step may run again after a crash; one with a compensation must state "
                "idempotent=True, or drop local=True"
            )

    def check(self) -> None:
        """Resolve its types now.

        Raises:
            InvalidStep: A type is unknown or cannot travel as JSON.
        """
        self.signature.resolve()
        if self.compensation:
            self.compensation.signature.resolve()


def _default_name(fn: Callable[..., Any], is_method: bool) -> str:
    if not is_method:
        return fn.__name__
    return ".".join(fn.__qualname__.rsplit("<locals>.", 1)[-1].split("."))


class StepDecorator(Protocol):
    """What `@step(...)` with options returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    timeout: timedelta | None = None,
    retry: RetryPolicy | str = "standard",
    heartbeat: timedelta | None = timedelta(seconds=6),
    local: bool = False,
    idempotent: bool = False,
    deferred: bool = False,
    process: bool = False,
    queue: str | None = None,
    priority: int | None = None,
    summary: str | None = None,
    limit: Limit | None = None,
    breaker: Breaker | str | None = None,
) -> StepDecorator: ...
def step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Make a function a durable step.

    Args:
        fn: An async or sync function whose parameters and result have types that travel as JSON. Sync functions run
            on threads. Methods work too: give the instance to the `Worker`.
        name: The name in histories and queues. Default: the function's; `Class.method` for a method.
        aliases: Former names, so that open runs find a renamed step.
        **options: The fields of `StepOptions`: `timeout` (of one attempt, default 5 minutes), `retry` (default 3
            attempts), `heartbeat` (default 6 s), `local`, `idempotent`, `deferred`, `process`, `queue`, `priority`,
            `summary`, `limit`, `breaker`.

    Raises:
        InvalidStep: The function is a lambda, a generator, or misses a type; or a local step has a compensation
            without `idempotent=True`.
        InvalidConfiguration: An option cannot work.
    """

    def declare(function: Callable[..., Any]) -> Step[..., Any]:
        declared: Step[..., Any] = Step(
            function,
            name=name,
            aliases=aliases,
            options=changed(StepOptions(), options, also=("name", "aliases")),
        )
        if not scope.reimporting():
            registry().add_step(declared)
        return declared

    return declare if fn is None else declare(fn)
