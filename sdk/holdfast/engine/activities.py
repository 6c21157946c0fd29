"""Steps as Temporal activities: decode, give dependencies, call, encode, and translate what is raised."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractAsyncContextManager
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import to_json
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError

from holdfast.authoring.depends import Dependency, Providers, providing
from holdfast.authoring.info import USAGE, StepInfo, enter
from holdfast.authoring.registry import registry
from holdfast.authoring.signature import Signature
from holdfast.authoring.step import Step
from holdfast.breaking import Breaker
from holdfast.engine.calls import CHECKPOINT
from holdfast.engine.dag.nodes import NODE, evaluator, node_arguments
from holdfast.engine.data.step_data import NODE_REF_BYTES, REF_BYTES, StepData
from holdfast.engine.failures import step_failure
from holdfast.engine.keyed_limits import KeyedLimits
from holdfast.engine.not_yet import NotYet
from holdfast.engine.payloads import ATTEMPT
from holdfast.engine.process_pool import ProcessPool
from holdfast.engine.task_budget import LOCAL_RESULT_BYTES
from holdfast.engine.tokens import make_token
from holdfast.engine.turn import keyed, turn
from holdfast.errors import HoldfastError, InvalidStep, PayloadTooLarge, Permanent, RetryAfter, Unavailable
from holdfast.options import Limit, RetryPolicy, StepOptions

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

logger = logging.getLogger("holdfast.step")


def _not_a_step_failure(record: logging.LogRecord) -> bool:
    """Leaves out Temporal's own report of what `Call._log` reports in a line that names the run."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, ApplicationError) and error.__cause__ is not None)


logging.getLogger("temporalio.activity").addFilter(_not_a_step_failure)


class StepHost:
    """Everything that the steps of one worker share.

    Args:
        data: How values are encoded.
        providers: The worker's dependencies.
        instances: Objects whose methods are steps, by their class.
        processes: For steps with `process=True`.
    """

    def __init__(
        self,
        data: StepData,
        *,
        providers: Providers,
        instances: Mapping[type, object],
        processes: ProcessPool,
    ) -> None:
        self.data = data
        self.providers = providers
        self.instances = instances
        self.processes = processes
        self.loop: asyncio.AbstractEventLoop | None = None
        self.codes: dict[CodeType, str] = {}
        """The code of what runs here, to name what blocks the loop."""
        self.limits: KeyedLimits | None = None
        self.record_progress: Callable[[bytes, Sequence[Any]], bool] = lambda token, details: False

    def activities(self, steps: Mapping[str, Step[..., Any]]) -> list[Callable[..., Any]]:
        """The activities that serve these steps, their aliases and their compensations."""
        from holdfast.engine.dag.step_options import step_finder  # brings the documents along
        from holdfast.engine.maps.data import map_activities  # and this the expressions

        served: list[Callable[..., Any]] = [_checkpoint, evaluator(self.data), step_finder()]
        served += map_activities(self.data)
        for name, step in steps.items():
            if step.signature.is_method and self._instance(step) is None:
                continue
            served.append(self._activity(name, step, step.fn, step.signature, step.options))
            served.append(
                self._activity(f"{NODE}{name}", step, step.fn, step.signature, step.options, node=True)
            )
            if step.compensation:
                undo = step.compensation
                served.append(
                    self._activity(
                        f"{name}.compensate", step, undo.fn, undo.signature, undo.options, lenient=True
                    )
                )
                served.append(
                    self._activity(
                        f"{NODE}{name}.compensate", step, undo.fn, undo.signature, undo.options, node=True
                    )
                )
        return served

    def _instance(self, step: Step[..., Any]) -> object | None:
        return next(
            (
                obj
                for cls, obj in self.instances.items()
                if step.owner is not None and issubclass(cls, step.owner)
            ),
            None,
        )

    def _activity(
        self,
        name: str,
        step: Step[..., Any],
        fn: Callable[..., Any],
        signature: Signature,
        options: StepOptions,
        *,
        lenient: bool = False,
        node: bool = False,
    ) -> Callable[..., Any]:
        is_async = inspect.iscoroutinefunction(fn) or options.process
        call = Call(
            self,
            step,
            name.removeprefix(NODE),
            signature,
            options,
            self._instance(step),
            lenient=lenient,
            on_loop=is_async,
            node=node,
        )
        run: Callable[..., Any]
        if is_async:

            async def run_async(*args: Any) -> RawValue:
                return await call.run_async(args)

            run = run_async
        else:

            def run_sync(*args: Any) -> RawValue:
                return call.run_sync(args)

            run = run_sync
        parameters = [
            inspect.Parameter(f"a{index}", inspect.Parameter.POSITIONAL_ONLY, annotation=RawValue)
            for index in range(2 if node else len(signature.names))
        ]
        # Temporal hands over RawValue only where the signature says so; decoding is ours, with our errors.
        setattr(run, "__signature__", inspect.Signature(parameters, return_annotation=RawValue))  # noqa: B010
        run.__annotations__ = {**{p.name: RawValue for p in parameters}, "return": RawValue}
        run.__qualname__ = run.__name__ = name
        return activity.defn(name=name)(run)


class Call:
    """How one step is called."""

    def __init__(
        self,
        host: StepHost,
        step: Step[..., Any],
        name: str,
        signature: Signature,
        options: StepOptions,
        instance: object | None,
        *,
        lenient: bool,
        on_loop: bool,
        node: bool,
    ) -> None:
        self.host, self.step, self.name = host, step, name
        self.signature, self.options, self.instance = signature, options, instance
        # A compensation gets None for the result of a step whose outcome is unknown, whatever the type says.
        self.lenient = lenient
        self.on_loop = on_loop
        self.node = node

    async def run_async(self, args: Sequence[Any]) -> RawValue:
        """An async step, or a sync one that runs in a process."""
        info, called = self._enter(), False
        try:
            values = await self._decode(args)
            stand_in = registry().stand_in(self.signature.fn)
            dependencies = {} if stand_in else await self._dependencies()
            async with self._turn(*self._keyed(values), info):
                called = True
                if stand_in is not None:
                    result = await stand_in(values)
                elif self.options.process:
                    result = await self.host.processes.call(self.step, values)
                else:
                    with providing(self.host.providers):
                        result = await self.signature.call(values, dependencies, self.instance)
            return await self._encode(result, info)
        except (asyncio.CancelledError, CancelledError):
            raise
        except BrokenProcessPool as exc:
            error = Unavailable(f"the process that ran step {self.name!r} died")
            raise step_failure(error, self._retry(), info.attempt) from exc
        except (Exception, SystemExit) as exc:  # the boundary to user code, which must not end the worker
            raise self._failed(exc, info, called=called) from exc

    def run_sync(self, args: Sequence[Any]) -> RawValue:
        """A sync step, already on its thread; what must wait for I/O goes to the worker's loop."""
        info, called = self._enter(), False
        try:
            values = self._on_loop(self._decode(args))
            stand_in = registry().stand_in(self.signature.fn)
            dependencies = (
                self._on_loop(self._dependencies()) if self.signature.dependencies and not stand_in else {}
            )
            with self._on_thread(self._turn(*self._keyed(values), info)):
                called = True
                if stand_in is not None:
                    return self._on_loop(self._encode(self._on_loop(stand_in(values)), info))
                with providing(self.host.providers):
                    result = self.signature.call(values, dependencies, self.instance)
            return self._on_loop(self._encode(result, info))
        except (asyncio.CancelledError, CancelledError):
            raise
        except (Exception, SystemExit) as exc:  # the boundary to user code, which must not end the worker
            raise self._failed(exc, info, called=called) from exc

    def _keyed(self, values: Sequence[Any]) -> tuple[Limit | None, Breaker | None]:
        return keyed(self.options, self.signature.names, values)

    def _turn(
        self, limit: Limit | None, breaker: Breaker | None, info: StepInfo
    ) -> AbstractAsyncContextManager[None]:
        """A circuit breaker that lets it begin and a place under a limit, where there are any."""
        if limit is None and breaker is None:
            return contextlib.nullcontext()
        return turn(self.host.limits, limit, breaker, info, self._retry())

    @contextlib.contextmanager
    def _on_thread(self, turn: AbstractAsyncContextManager[None]) -> Generator[None]:
        self._on_loop(turn.__aenter__())
        try:
            yield
        except BaseException as exc:
            self._on_loop(turn.__aexit__(type(exc), exc, exc.__traceback__))
            raise
        self._on_loop(turn.__aexit__(None, None, None))

    def _failed(self, exc: BaseException, info: StepInfo, *, called: bool) -> ApplicationError:
        if isinstance(exc, NotYet):
            return exc.failure
        self._log(exc, info)
        return step_failure(exc, self._retry(), info.attempt, called=called, usage=info.usage.by_unit)

    def _retry(self) -> RetryPolicy:
        """The policy of this call, which `with_options` may have changed; Temporal knows no jitter."""
        given = activity.info().retry_policy
        if given is None or given.maximum_interval is None:
            return self.options.retry
        return dataclasses.replace(
            self.options.retry,
            first_delay=given.initial_interval,
            backoff=given.backoff_coefficient,
            max_delay=given.maximum_interval,
        )

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        assert self.host.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.host.loop).result()

    def _log(self, exc: BaseException, info: StepInfo) -> None:
        expected = isinstance(exc, Permanent | RetryAfter | HoldfastError)
        logger.warning(
            "step %s of run %s failed (attempt %d): %s: %s",
            self.name,
            info.run_id,
            info.attempt,
            type(exc).__name__,
            exc,
            exc_info=None if expected else exc,
        )

    async def _dependencies(self) -> dict[str, Any]:
        wanted: Mapping[str, Dependency[Any]] = self.signature.dependencies
        return await self.host.providers.resolve(wanted) if wanted else {}

    async def _decode(self, args: Sequence[Any]) -> list[Any]:
        if self.node:
            call, own = args
            return await node_arguments(self.host.data, self.signature, call.payload, own.payload, self.name)
        values: list[Any] = []
        for payload, adapter, where in self._payloads(args):
            values.append(
                None if payload is None else await self.host.data.decode(payload, adapter, where=where)
            )
        return values + self._defaults(len(args))

    def _payloads(self, args: Sequence[Any]) -> Iterator[tuple[Payload | None, TypeAdapter[Any], str]]:
        parameters = self.signature.parameters
        if len(args) > len(parameters):
            raise InvalidStep(f"step {self.name!r} got {len(args)} arguments; it takes {len(parameters)}")
        for index, value in enumerate(args):
            # A caller of another version may leave out arguments; Temporal then hands over plain JSON values.
            payload = (
                value.payload
                if isinstance(value, RawValue)
                else activity.payload_converter().to_payload(value)
            )
            unknown = (
                self.lenient
                and index == len(parameters) - 1
                and payload.metadata.get("encoding") == b"binary/null"
            )
            where = f"Argument {parameters[index].name!r} of step {self.name!r}"
            yield None if unknown else payload, self.signature.adapters[index], where

    def _defaults(self, given: int) -> list[Any]:
        values: list[Any] = []
        for parameter in self.signature.parameters[given:]:
            if parameter.default is parameter.empty:
                raise InvalidStep(
                    f"step {self.name!r} misses {parameter.name!r}: the run was started by another version of the "
                    "code; give the parameter a default"
                )
            values.append(parameter.default)
        return values

    async def _encode(self, result: Any, info: StepInfo) -> RawValue:
        payload = await self.host.data.encode_result(
            result,
            self.signature.result,
            step=self.name,
            ref_bytes=NODE_REF_BYTES if self.node else REF_BYTES,
        )
        if self.node and info.attempt > 1:
            payload.metadata[ATTEMPT] = str(info.attempt).encode()
        size_bytes = payload.ByteSize()
        if info.is_local and size_bytes > LOCAL_RESULT_BYTES and not self.host.data.stored:
            # Several such results in one workflow task would end the run without its compensation.
            raise PayloadTooLarge(
                f"The result of local step {self.name!r} has {size_bytes // 1024} KiB; without a storage "
                f"(HOLDFAST_STORAGE) a local step gives at most {LOCAL_RESULT_BYTES // 1024} KiB. Drop local=True.",
                size_bytes=size_bytes,
            )
        if spent := info.usage.by_unit:
            payload.metadata[USAGE] = to_json(spent)
        return RawValue(payload)

    def _heartbeat(self, token: bytes) -> Callable[..., None]:
        if self.on_loop:
            return activity.heartbeat

        def heartbeat(*details: Any) -> None:
            # Temporal's own goes through the worker's loop, and fails when another step holds that for 10 s.
            if not (details and self.host.record_progress(token, details)):
                activity.heartbeat(*details)

        return heartbeat

    def _enter(self) -> StepInfo:
        temporal = activity.info()
        info = StepInfo(
            run_id=temporal.workflow_id or "",
            workflow=temporal.workflow_type or "",
            step=self.name,
            attempt=temporal.attempt,
            idempotency_key=f"{temporal.workflow_id}/{temporal.activity_id}",
            token=make_token(self.name, temporal.task_token),
            heartbeat_details=tuple(temporal.heartbeat_details),
            is_local=temporal.is_local,
            _heartbeat=self._heartbeat(temporal.task_token),
            _is_cancelled=activity.is_cancelled,
            _defer=activity.raise_complete_async if self.options.deferred else None,
            _keep=functools.partial(self.host.data.keep_base64, step=self.name),
        )
        enter(info)
        return info


@activity.defn(name=CHECKPOINT)
async def _checkpoint() -> None:
    """Closes a workflow task full of local steps."""
