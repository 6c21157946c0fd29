"""`@workflow`: a plain async function that survives crashes."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import timedelta
from types import CodeType, FunctionType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from holdfast.authoring import scope
from holdfast.authoring.registry import registry
from holdfast.authoring.run_id import check_id
from holdfast.authoring.signature import Signature, where
from holdfast.authoring.step import Step
from holdfast.errors import InvalidWorkflow, NotInWorkflow
from holdfast.options import DEFAULT_QUEUE, UNSET, WorkflowOptions, changed
from holdfast.triggers.declared import On, Trigger
from holdfast.triggers.declared import declared as declared_triggers

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class Handler:
    """A query or an update: a function that receives the run's state, then the caller's arguments."""

    def __init__(self, fn: Callable[..., Any], validator: Callable[..., Any] | None = None) -> None:
        self.fn = fn
        self.validator = validator
        self.signature = Signature(fn, kind="workflow handler", error=InvalidWorkflow)
        if not self.signature.names:
            raise InvalidWorkflow(f"{where(fn)}: a handler's first parameter is the run's state")


class Workflow(Generic[P, R]):
    """A declared workflow. Run it with a client; inside another workflow a call is a child run.

    Attributes:
        fn: The plain function, for unit tests.
        name: The name under which workers serve it.
        options: The options in force.
        triggers: What it declares to start it, by name.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None,
        options: WorkflowOptions,
        triggers: Sequence[Trigger | On] = (),
    ) -> None:
        self.fn = fn
        self.signature = Signature(fn, kind="workflow", error=InvalidWorkflow)
        if not inspect.iscoroutinefunction(fn):
            raise InvalidWorkflow(
                f"{where(fn)}: a workflow is an async function: write `async def {fn.__name__}`"
            )
        if self.signature.is_method:
            raise InvalidWorkflow(
                f"{where(fn)}: a workflow is no method: write it at module level, without self"
            )
        for parameter in self.signature.parameters:
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
                raise InvalidWorkflow(
                    f"{where(fn)}: parameter {parameter.name!r} is keyword-only, and clients send by position: give it "
                    "a default, or drop the `*`"
                )
        if self.signature.dependencies:
            raise InvalidWorkflow(f"{where(fn)}: a workflow takes no Depends(...); ask for it in a step")
        self.name = name or fn.__name__
        self.options = options
        self.triggers: Mapping[str, Trigger] = declared_triggers(triggers, self.name) if triggers else {}
        self.child_id: str | None = None
        self.queries: dict[str, Handler] = {}
        self.updates: dict[str, Handler] = {}
        self.__name__ = fn.__name__
        self.__qualname__ = fn.__qualname__
        self.__doc__ = fn.__doc__
        self.__module__ = fn.__module__
        self.__wrapped__ = fn

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Start a child run and wait for it. Only inside a workflow.

        Raises:
            NotInWorkflow: Called elsewhere.
            RunFailed: The child failed.
        """
        run = scope.current_run()
        if run is None:
            raise NotInWorkflow(
                f"{self.name!r} is a workflow: start it with `await client.run({self.__name__}, ...)`; "
                f"`{self.__name__}.fn(...)` is the plain function"
            )
        return run.call_child(self, self.signature.bind(args, kwargs))

    def with_options(
        self,
        *,
        id: str | None = None,
        queue: str | Any = UNSET,
        timeout: timedelta | Any | None = UNSET,
        task_timeout: timedelta | Any | None = UNSET,
    ) -> Workflow[P, R]:
        """The same workflow with other options, for one call of a child or one start.

        Args:
            id: The run's id. Default, of a child: the parent's id, the child's name and a number.
            queue: The queue whose workers run it.
            timeout: How long the child may take.
            task_timeout: How long one of its workflow tasks may take.

        Raises:
            InvalidInput: The id is none.
            InvalidConfiguration: An option cannot work.
        """
        other = copy.copy(self)
        if id is not None:
            other.child_id = check_id(id)
        other.options = changed(
            self.options, {"queue": queue, "timeout": timeout, "task_timeout": task_timeout}
        )
        return other

    def query(self, fn: F) -> F:
        """Declare a query: `@fulfil.query`. The function receives the state last given to `set_state`, then the
        caller's arguments; it reads only."""
        self.queries[fn.__name__] = Handler(fn)
        return fn

    @overload
    def update(self, fn: F, /) -> F: ...
    @overload
    def update(self, /, *, validator: Callable[..., Any] | None = None) -> Callable[[F], F]: ...
    def update(
        self, fn: Callable[..., Any] | None = None, /, *, validator: Callable[..., Any] | None = None
    ) -> Any:
        """Declare an update: `@fulfil.update` or `@fulfil.update(validator=check)`. The function receives the state,
        then the caller's arguments, and may change the state; its result goes to the caller. A validator gets the
        same and raises to refuse."""

        def declare(function: F) -> F:
            self.updates[function.__name__] = Handler(function, validator)
            return function

        return declare if fn is None else declare(fn)

    @functools.cached_property
    def uses_local_steps(self) -> bool:
        """Whether its code names a local step, itself or through functions of its module."""
        return any(isinstance(value, Step) and value.options.local for value in _named_values(self.fn))

    @property
    def task_timeout(self) -> timedelta | None:
        """How long one workflow task may take; None is the server's default of 10 s."""
        if self.options.task_timeout is None and self.uses_local_steps:
            return timedelta(seconds=2)
        return self.options.task_timeout

    def check(self) -> None:
        """Resolve its types now.

        Raises:
            InvalidWorkflow: A type is unknown or cannot travel as JSON.
        """
        self.signature.resolve()
        for handler in (*self.queries.values(), *self.updates.values()):
            handler.signature.resolve()


def _named_values(fn: Callable[..., Any]) -> Iterator[Any]:
    """Every object that the code of `fn`, or of functions of its module that it names, refers to by name."""
    seen: set[int] = set()
    functions = [fn]
    while functions:
        function = functions.pop()
        if id(function) in seen or not isinstance(function, FunctionType):
            continue
        seen.add(id(function))
        names: set[str] = set()
        codes: list[CodeType] = [function.__code__]
        while codes:
            code = codes.pop()
            names.update(code.co_names)
            codes.extend(const for const in code.co_consts if isinstance(const, CodeType))
        closure: Mapping[str, Any] = (
            inspect.getclosurevars(function).nonlocals if function.__closure__ else {}
        )
        for value in [function.__globals__.get(name) for name in names] + list(closure.values()):
            if isinstance(value, FunctionType) and value.__module__ == function.__module__:
                functions.append(value)
            elif value is not None:
                yield value


class WorkflowDecorator(Protocol):
    """What `@workflow(...)` with options returns."""

    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...


@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    queue: str = DEFAULT_QUEUE,
    timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    sandboxed: bool = True,
    versioning: str | None = None,
    triggers: Sequence[Trigger | On] = (),
) -> WorkflowDecorator: ...
def workflow(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    triggers: Sequence[Trigger | On] = (),
    **options: Any,
) -> Any:
    """Make an async function a durable workflow.

    Its code must do the same when it is run again on the same results: no clock, chance or I/O. Use `now`, `uuid4`,
    `random` and steps instead.

    Args:
        fn: An async function whose parameters and result have types that travel as JSON.
        name: The name in histories. Default: the function's.
        triggers: What starts runs of it, such as `Cron("0 9 * * *")`; workers that serve it register them.
        **options: The fields of `WorkflowOptions`: `queue` (default `"default"`), `timeout`, `task_timeout`,
            `sandboxed` (default true), `versioning`.

    Raises:
        InvalidWorkflow: The function is not async, is a lambda or a generator, or misses a type.
        InvalidConfiguration: An option cannot work.
        InvalidInput: A trigger cannot be.
    """

    def declare(function: Callable[..., Any]) -> Workflow[..., Any]:
        declared: Workflow[..., Any] = Workflow(
            function,
            name=name,
            options=changed(WorkflowOptions(), options, also=("name", "triggers")),
            triggers=triggers,
        )
        if scope.reimporting():
            scope.publish(declared)
        else:
            registry().add_workflow(declared)
        return declared

    return declare if fn is None else declare(fn)
