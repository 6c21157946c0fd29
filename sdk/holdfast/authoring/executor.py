"""`Executor`: what the `type` of a node names, and a step for workflows in code."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final, Generic, TypedDict, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, JsonValue
from typing_extensions import Unpack

from holdfast.authoring.config_schema import spellings
from holdfast.authoring.execution import call_of, execute_here
from holdfast.authoring.executor_context import ExecutorContext
from holdfast.authoring.executors import EXECUTOR
from holdfast.authoring.step import Step
from holdfast.breaking import Breaker
from holdfast.errors import InvalidConfiguration, InvalidExecutor, InvalidInput
from holdfast.options import ExecutorOptions, Limit, RetryPolicy, check_made
from holdfast.spec.names import CONTROL_TYPES, STEP_TYPE

ConfigT = TypeVar("ConfigT", bound=BaseModel)
OutputT = TypeVar("OutputT")

_TYPE: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)


class CallOptions(TypedDict, total=False):
    """What may be set for one call; see `StepOptions`."""

    timeout: timedelta
    retry: RetryPolicy | str
    heartbeat: timedelta | None
    local: bool
    queue: str
    priority: int
    summary: str


class Executor(Generic[ConfigT, OutputT]):
    """Does the work of nodes of one type.

    Subclass it with the models of config and output, give it a `type`, and write `execute`. A worker makes one
    instance for all its nodes, without arguments: what they share comes from `ctx.get(provider)`, and nothing of one
    call is kept in `self`.

    Attributes:
        type: The name in documents: lower-case letters, digits, `_`, `.` and `-`.
        options: Timeout, retries, and what else holds for every node of this type.
        Config: The model of the config, from the first argument. It refuses unknown fields (`extra="forbid"`).
        Output: The type of the result, from the second argument.
        step: The step that a call in a workflow is.

    Raises:
        InvalidExecutor: When the class is made: its shape is wrong.

    Example:
        ```python
        class Shout(Executor[ShoutConfig, ShoutOutput]):
            type = "shout"
            options = ExecutorOptions(has_effects=False, idempotent=True)

            async def execute(self, ctx: ExecutorContext, config: ShoutConfig, input: JsonValue) -> ShoutOutput:
                return ShoutOutput(text=config.text.upper())
        ```
    """

    type: ClassVar[str]
    options: ClassVar[ExecutorOptions] = ExecutorOptions()
    Config: ClassVar[builtins.type[BaseModel]]
    Output: ClassVar[Any]
    step: ClassVar[Step[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            arguments = get_args(base)
            if (
                len(arguments) == 2
                and _is_executor(get_origin(base))
                and not isinstance(arguments[0], TypeVar)
            ):
                cls.Config, cls.Output = arguments
        if "type" in vars(cls):
            _check_shape(cls)
            cls.step = _step(cls)

    async def execute(self, ctx: ExecutorContext, config: ConfigT, input: JsonValue) -> OutputT:
        """Do the work of one attempt.

        Args:
            ctx: The run, the idempotency key, secrets, shared clients, heartbeats.
            config: Rendered and checked.
            input: In a DAG, what the node works on; in code, `call(..., input=...)`. Plain JSON.

        Returns:
            The output, which travels as JSON.

        Raises:
            Permanent: It will not get better. `RetryAfter`: not before some time has passed. Any other exception is
            tried again by the node's retry policy.
        """
        raise NotImplementedError

    def validate(self, config: ConfigT) -> Sequence[str]:
        """What is wrong with a config beyond its schema, one sentence each. Called before a run starts where the config
        has no templates, and before every attempt; so it does no I/O."""
        del config
        return ()

    def limit(self, config: ConfigT) -> Limit | None:
        """What calls with this config share with others on all workers: an attempt waits for its turn before it
        begins. Default: nothing."""
        del config
        return None

    def breaker(self, config: ConfigT) -> Breaker | None:
        """The circuit breaker that calls with this config share with others on all workers. Default: none."""
        del config
        return None

    @classmethod
    def call(
        cls,
        config: ConfigT | Mapping[str, object],
        /,
        *,
        input: object = None,
        **options: Unpack[CallOptions],
    ) -> Coroutine[Any, Any, OutputT]:
        """Use it in code: a durable step inside a workflow, carried out at once elsewhere.

        Args:
            config: The config, or a mapping that makes one. Its strings are taken as they are, `{{` included; only what
                `template(...)` made is a template, for secrets.
            input: What to work on: any value that travels as JSON.
            **options: `timeout`, `retry`, `heartbeat`, `local`, `queue`, `priority`, `summary`, for this call.

        Raises:
            StepFailed: In a workflow: the attempts are used up, or it failed for good.
            InvalidInput: The config cannot travel, or `local=True` for an executor that may not run so.
        """
        if options.get("local") and not cls.options.local:
            raise InvalidInput(
                f"executor {cls.type!r} may not run locally: its options say local={cls.options.local}"
            )
        step: Callable[..., Coroutine[Any, Any, OutputT]] = (
            cls.step.with_options(**options) if options else cls.step
        )
        return step(call_of(cls, config, input), None)


def _is_executor(origin: object) -> bool:
    return inspect.isclass(origin) and issubclass(origin, Executor)


def _own_names(cls: builtins.type[Executor[Any, Any]]) -> set[str]:
    """What the class and those between it and `Executor` define."""
    return {name for base in cls.__mro__[: cls.__mro__.index(Executor)] for name in vars(base)}


def _check_shape(cls: builtins.type[Executor[Any, Any]]) -> None:
    def refuse(what: str) -> InvalidExecutor:
        return InvalidExecutor(f"{cls.__module__}.{cls.__qualname__}: {what}")

    kind = cls.type
    if not isinstance(cast("object", kind), str) or _TYPE.fullmatch(kind) is None:
        raise refuse(
            f"type = {kind!r}: use lower-case letters, digits, '_', '.' and '-', a letter first, at most 64 characters"
        )
    if kind in CONTROL_TYPES or kind == STEP_TYPE:
        raise refuse(f"type = {kind!r} is a type of node that every run has: choose another name")
    config: object = getattr(cls, "Config", None)
    if not (inspect.isclass(config) and issubclass(config, BaseModel)):
        raise refuse(
            f"write `class {cls.__name__}(Executor[SomeConfig, SomeOutput])`, the config being a pydantic model "
            f"defined above it; got {config!r}"
        )
    if config.model_config.get("extra") != "forbid":
        raise refuse(
            f"{config.__qualname__} takes unknown fields, so that a misspelt one would be ignored: write `class "
            f'{config.__name__}(BaseModel, extra="forbid")`'
        )
    try:
        check_made("options", cls.options, ExecutorOptions)
    except InvalidConfiguration as error:
        raise refuse(error.message) from None
    for name in cls.options.code_fields:
        if not spellings(config, name):
            from holdfast.spec.check_graph import closest  # brings the documents along

            raise refuse(
                f"code_fields has {name!r}, which is no field of {config.__qualname__}. "
                f"{closest(name, config.model_fields)}There is: {', '.join(config.model_fields)}"
            )
    if "execute" not in _own_names(cls) or not inspect.iscoroutinefunction(cls.execute):
        raise refuse("write `async def execute(self, ctx, config, input)`")
    if len(inspect.signature(cls.execute).parameters) != 4:
        raise refuse("execute takes (self, ctx, config, input), and nothing else")
    for name, written in (
        ("validate", "Sequence[str]"),
        ("limit", "Limit | None"),
        ("breaker", "Breaker | None"),
    ):
        method: object = getattr(cls, name)
        if not callable(method):
            raise refuse(f"{name} = {method!r:.200}: write `def {name}(self, config) -> {written}`")
        if inspect.iscoroutinefunction(method):
            raise refuse(f"{name} does no I/O: write it without async")
    required = [
        parameter.name
        for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise refuse(f"a worker makes it without arguments, and __init__ needs {', '.join(required)}")


def _step(cls: builtins.type[Executor[Any, Any]]) -> Step[..., Any]:
    async def execute(call: dict[str, Any], own: object) -> Any:
        del own  # a node that undoes another gets its output here; code has none
        return await execute_here(cls, call)

    execute.__annotations__["return"] = cls.Output
    execute.__qualname__, execute.__module__, execute.__doc__ = cls.__qualname__, cls.__module__, cls.__doc__
    return Step(execute, name=EXECUTOR + cls.type, aliases=(), options=cls.options.step)
