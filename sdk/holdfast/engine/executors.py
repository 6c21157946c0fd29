"""Executors as Temporal activities: secrets come in at the last moment, and never leave the attempt."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic_core import to_jsonable_python
from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError

from holdfast.authoring.crowded import Crowded
from holdfast.authoring.depends import providing
from holdfast.authoring.execution import prepare, without_secrets
from holdfast.authoring.executor import Executor
from holdfast.authoring.executor_context import ExecutorContext, context_of
from holdfast.authoring.executors import EXECUTOR
from holdfast.authoring.info import StepInfo, enter
from holdfast.authoring.next_call import NextCall
from holdfast.authoring.registry import registry
from holdfast.engine.activities import Call, StepHost
from holdfast.engine.dag.following import note_next
from holdfast.engine.data.adapters import object_adapter, plain_adapter
from holdfast.engine.failures import step_failure
from holdfast.engine.not_yet import NotYet
from holdfast.errors import InvalidInput, Permanent, Unavailable
from holdfast.options import RetryPolicy
from holdfast.redaction import Redactor, redacting_logs, text_of

_RECORD_TIMEOUT: Final = timedelta(seconds=10)


def executor_activities(host: StepHost) -> list[Callable[..., Any]]:
    """One activity per executor that this process offers. None is imported before its first call."""
    return [_activity(host, kind) for kind in registry().executors.types()]


def _activity(host: StepHost, kind: str) -> Callable[..., Any]:
    calls: list[ExecutorCall] = []

    async def run(call: RawValue, own: RawValue) -> RawValue:
        if not calls:
            calls.append(await _loaded(host, kind))
        return await calls[0].run(call, own)

    run.__qualname__ = run.__name__ = EXECUTOR + kind
    return activity.defn(name=EXECUTOR + kind)(run)


async def _loaded(host: StepHost, kind: str) -> ExecutorCall:
    try:
        # On a thread: what a package imports may take a second.
        executor = await asyncio.to_thread(registry().executors.find, kind)
        return ExecutorCall(host, executor)
    except Exception as exc:  # the boundary to packages of others
        raise step_failure(exc, RetryPolicy(), activity.info().attempt, called=False) from exc


class ExecutorCall(Call):
    """How one executor is called."""

    def __init__(self, host: StepHost, kind: type[Executor[Any, Any]]) -> None:
        step = kind.step
        super().__init__(
            host, step, step.name, step.signature, step.options, None, lenient=False, on_loop=True, node=True
        )
        self._in_code = copy.copy(self)
        self._in_code.node = False  # which decides from which size on a result is a Ref
        self.executor = kind()
        host.codes[inspect.unwrap(kind.execute).__code__] = kind.type

    async def run(self, asked: RawValue, own: RawValue) -> RawValue:
        """One attempt."""
        info, called, redactor = self._enter(), False, Redactor()
        with providing(self.host.providers), redacting_logs(redactor):
            try:
                call = await self._call(asked, own)
                encode = (self._in_code if call.get("code") else self)._encode
                stand_in = registry().stand_in(self.signature.fn)
                if stand_in is not None:
                    return await encode(await stand_in([call, None]), info)
                ctx = await self._context(info, redactor, call.get("earlier"))
                config = await prepare(self.executor, call, ctx, redactor)
                limit = self.executor.limit(config)
                breaker = self.executor.breaker(config)
                for keyed in (limit, breaker):
                    if keyed is not None and redactor.text(keyed.key) != keyed.key:
                        kind = type(keyed).__name__.lower()
                        raise InvalidInput(
                            f"the key of the {kind} holds a secret, and would be part of a run's id"
                        )
                async with self._turn(limit, breaker, info):
                    called = True
                    result = await self.executor.execute(ctx, config, call.get("input"))
                kept = without_secrets(
                    result, self.signature.result, redactor, ctx.secrets, self.executor.type
                )
                return self._with_next(await encode(kept, info), kept, call)
            except (asyncio.CancelledError, CancelledError):
                raise
            except NotYet as exc:
                raise exc.failure from exc
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - the boundary to executors, reported below
                if isinstance(exc, Crowded) and info.attempt == 1:
                    raise NotYet(redactor.text(str(exc)), exc.delay.total_seconds()).failure from None
                shown = redactor.exception(exc)
                failure = self._failure(exc, shown, info, redactor, called=called)
            self._log(shown, info)
            # Nothing of the exception itself may follow: it quotes what it likes.
            raise failure from shown

    def _enter(self) -> StepInfo:
        info = dataclasses.replace(super()._enter(), _record=_record, _is_cancelled=_asked_to_stop)
        enter(info)
        return info

    def _with_next(self, encoded: RawValue, result: Any, call: Mapping[str, Any]) -> RawValue:
        """The result of a node, with a note of the call that is to follow it."""
        following = getattr(result, "next", None)
        if isinstance(following, NextCall) and not call.get("code"):
            if "patch" not in call:
                raise Permanent(
                    f"further calls of {self.executor.type!r} would have to follow, and there is one for each item and "
                    "each use of a tool: map over a DAG that has the node"
                )
            if following.calls:
                from holdfast.engine.dag.tools import complete  # brings the documents along

                calls = [complete(asked, call["config"]) for asked in following.calls]
                following = following.model_copy(update={"calls": calls})
            note_next(encoded.payload, following)
        return encoded

    async def _call(self, asked: RawValue, own: RawValue) -> dict[str, Any]:
        data = self.host.data
        where = f"The call of {self.name!r}"
        call: dict[str, Any] = await data.decode(asked.payload, object_adapter(), where=where)
        if call.get("own") is not None:
            where = f"The output of {call['own']!r}"
            call["values"][call["own"]] = await data.decode(own.payload, plain_adapter(), where=where)
        return call

    async def _context(self, info: StepInfo, redactor: Redactor, earlier: object) -> ExecutorContext:
        return await context_of(
            info,
            kind=self.executor.type,
            node=activity.info().activity_id,
            key=info.idempotency_key,
            providers=self.host.providers,
            redactor=redactor,
            earlier=earlier,
        )

    def _failure(
        self, exc: BaseException, shown: Exception, info: StepInfo, redactor: Redactor, *, called: bool
    ) -> ApplicationError:
        """The failure of an attempt, without secrets in its message and details."""
        try:
            failure = step_failure(exc, self._retry(), info.attempt, called=called, usage=info.usage.by_unit)
            details = [redactor.value(to_jsonable_python(item, fallback=repr)) for item in failure.details]
        except Exception:  # noqa: BLE001 - of an exception that cannot say what it is
            failure = step_failure(
                shown, self._retry(), info.attempt, called=called, usage=info.usage.by_unit
            )
            details = list(failure.details)
        return ApplicationError(
            redactor.text(text_of(failure)),
            *details,
            type=failure.type,
            non_retryable=failure.non_retryable,
            next_retry_delay=failure.next_retry_delay,
            category=failure.category,
        )


def _asked_to_stop() -> bool:
    """Whether the run did: a worker that stops, and a pause, end an attempt too, and another one follows."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


async def _record(*details: Any) -> None:
    """Record progress as a beat does, and wait until the server has it."""
    activity.heartbeat(*details)  # the beats that follow would otherwise bring older details back
    try:
        client = activity.client()
    except RuntimeError:  # no worker: an attempt that a test makes
        return
    handle = client.get_async_activity_handle(task_token=activity.info().task_token)
    try:
        await handle.heartbeat(*details, rpc_timeout=_RECORD_TIMEOUT)
    except AsyncActivityCancelledError:
        pass  # the server has it; the cancel comes by itself
    except RPCError as error:
        raise Unavailable(f"the server did not take what was to be kept: {error.message}") from error
