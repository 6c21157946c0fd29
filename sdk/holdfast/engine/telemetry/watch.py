"""The interceptors of a worker and of a client: who is told of what runs, and how traces are handed on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import temporalio.client as temporal_client
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError, FailureError, is_cancelled_exception
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle, ChildWorkflowHandle, ContinueAsNewError

from holdfast.authoring.registry import registry
from holdfast.engine.children import DAG_WORKFLOW, MAP_WORKFLOW
from holdfast.engine.compensation import UNDOABLE
from holdfast.engine.failures import LIMITED
from holdfast.engine.inbox import DAG_MEMO
from holdfast.engine.telemetry.context import OWN, TRACE, step_name
from holdfast.engine.telemetry.observing import Observer, RunEnd, RunOutcome, StepEnd, StepOutcome
from holdfast.engine.telemetry.trace_ids import HEADER, RunTrace, run_trace

if TYPE_CHECKING:
    from holdfast.engine.telemetry.hints import Hints
    from holdfast.engine.telemetry.tracing import Tracing

logger = logging.getLogger("holdfast.telemetry")

_RUN_ENDED: Final = "holdfast_run_ended"
_HAPPENED: Final = "holdfast_happened"
_IS_SAMPLED: Final = "holdfast_is_sampled"
"""Names under which workflow code reaches the worker's functions from inside the sandbox."""

_NOTHING: Final = Payload(metadata={"encoding": b"binary/null"})

_RUNS_WORK: Final = (DAG_WORKFLOW, MAP_WORKFLOW)
"""Our own workflows that run the user's steps."""


class Watch(Interceptor):
    """Tells observers of each attempt and run that ends on a worker, and traces them.

    Args:
        observers: Who is told.
        tracing: Makes spans. Default: none are made, and headers stay as they are.
        hints: Tells the indexers of a home in which runs something happens. Default: nobody does.
    """

    def __init__(
        self, observers: Sequence[Observer], tracing: Tracing | None = None, *, hints: Hints | None = None
    ) -> None:
        self.observers = observers
        self.tracing = tracing
        self.hints = hints

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _WatchedAttempt(next, self)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """See base class."""
        externs = cast("Any", input).unsafe_extern_functions
        externs[_RUN_ENDED] = self._run_ended
        externs[_HAPPENED] = self._happened
        if self.tracing is None:
            return _WatchedRun
        externs[_IS_SAMPLED] = self._is_sampled
        return _TracedRun

    def _is_sampled(self, trace_id: int) -> bool:
        assert self.tracing is not None
        try:
            return self.tracing.is_sampled(trace_id)
        except Exception:  # of anybody's sampler
            logger.warning("a sampler failed: the run is not traced", exc_info=True)
            return False

    def _happened(self, run_id: str, execution_id: str) -> None:
        if self.hints is not None:
            with workflow.unsafe.sandbox_unrestricted():
                self.hints.note(run_id, execution_id)

    def _run_ended(self, end: RunEnd) -> None:
        self._happened(end.run_id, end.execution_id)
        with workflow.unsafe.sandbox_unrestricted():
            for observer in self.observers:
                observer.run_ended(end)
            if self.tracing is None:
                return
            try:
                self.tracing.run_ended(end)
            except Exception:  # of anybody's span processor; it must not keep a run from its end
                logger.warning("the span of run %s is lost", end.run_id, exc_info=True)


class _WatchedAttempt(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, watch: Watch) -> None:
        super().__init__(next)
        self._watch = watch

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        step = step_name(info.activity_type)
        if step is None:
            return await super().execute_activity(input)
        tracing, observers = self._watch.tracing, self._watch.observers
        self._happened(info)
        for observer in observers:
            observer.step_began(info.task_queue)
        outcome: StepOutcome = "failed"
        began = time.perf_counter()
        try:
            done, result = False, cast("Any", None)
            try:
                with nullcontext() if tracing is None else tracing.attempt(info, step, input.headers):
                    result = await super().execute_activity(input)
                    done = True
            except Exception:
                if not done:
                    raise
                # Of anybody's span processor; the step has done its work, which must not be done again for it.
                logger.warning("the span of step %s is lost", step, exc_info=True)
            outcome = "completed"
            return result
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            wait = (info.started_time - info.current_attempt_scheduled_time).total_seconds()
            end = StepEnd(
                step=step,
                queue=info.task_queue,
                outcome=outcome,
                attempt=info.attempt,
                seconds=time.perf_counter() - began,
                wait_seconds=max(0.0, wait) if info.attempt == 1 else None,
            )
            for observer in observers:
                observer.step_ended(end)
            self._happened(info)

    def _happened(self, info: activity.Info) -> None:
        hints = self._watch.hints
        if hints is not None and info.workflow_id is not None and info.workflow_run_id is not None:
            hints.note(info.workflow_id, info.workflow_run_id)


def outcome_of(error: BaseException) -> StepOutcome:
    """What became of an attempt that raised."""
    if isinstance(error, asyncio.CancelledError | CancelledError):
        return "cancelled"
    limited = isinstance(error, ApplicationError) and error.type == LIMITED
    # Temporal ends an attempt that completes later by an exception of its own, which is not public.
    return "postponed" if limited or type(error).__name__ == "_CompleteAsyncError" else "failed"


class _WatchedRun(WorkflowInboundInterceptor):
    trace: RunTrace | None = None

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Noting(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        self._happened()
        try:
            result = await super().execute_workflow(input)
        except ContinueAsNewError:
            self._ended("continued")
            raise
        except asyncio.CancelledError as error:
            self._ended("cancelled", error)
            raise
        except FailureError as error:
            self._ended("cancelled" if is_cancelled_exception(error) else "failed", error)
            raise
        self._ended("completed")
        return result

    async def handle_signal(self, input: HandleSignalInput) -> None:
        self._happened()
        await super().handle_signal(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        self._happened()
        return await super().handle_update_handler(input)

    def _happened(self) -> None:
        info = workflow.info()
        if not workflow.unsafe.is_replaying() and _is_watched(info.workflow_type):
            _extern(_HAPPENED)(info.workflow_id, info.run_id)

    def _ended(self, outcome: RunOutcome, error: BaseException | None = None) -> None:
        # A run that is dropped from memory ends here too: Temporal calls that a replay, or has left the workflow.
        if not workflow.in_workflow():
            return
        info = workflow.info()
        if workflow.unsafe.is_replaying() or not _is_watched(info.workflow_type):
            return
        failure = error.type if isinstance(error, ApplicationError) else None
        dag: object = (
            workflow.memo_value(DAG_MEMO, default=None) if info.workflow_type == DAG_WORKFLOW else None
        )
        end = RunEnd(
            workflow=dag if isinstance(dag, str) else info.workflow_type,
            run_id=info.workflow_id,
            execution_id=info.run_id,
            outcome=outcome,
            started=info.workflow_start_time,
            seconds=time.time() - info.workflow_start_time.timestamp(),
            error_type=failure or (type(error).__name__ if error is not None else None),
            trace=self.trace,
        )
        _extern(_RUN_ENDED)(end)


def _extern(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = cast("Any", workflow).extern_functions()[name]
    return found


def _is_watched(workflow_type: str) -> bool:
    return not workflow_type.startswith(OWN) or workflow_type in _RUNS_WORK


class _TracedRun(_WatchedRun):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_HandingOn(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        self.trace = _trace()
        return await super().execute_workflow(input)


def _trace() -> RunTrace | None:
    """The trace of the running workflow, kept with it; from the run's own facts alone, so that a replay on any worker
    comes to the same."""
    kept = cast("dict[str, RunTrace]", vars(cast("object", workflow.instance())))
    info = workflow.info()
    if TRACE not in kept and _is_watched(info.workflow_type):
        kept[TRACE] = run_trace(
            info.headers,
            first_execution_id=info.first_execution_run_id,
            execution_id=info.run_id,
            is_sampled=_extern(_IS_SAMPLED),
        )
    return kept.get(TRACE)


class _Noting(WorkflowOutboundInterceptor):
    """Notes at each step that has a compensation that it does, so that whoever reads the history of a run that was
    terminated knows what nobody has undone."""

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        step = registry().step(step_name(input.activity) or "")
        if step is not None and step.compensation is not None:
            input.headers = {**input.headers, UNDOABLE: _NOTHING}
        return super().start_activity(input)


class _HandingOn(WorkflowOutboundInterceptor):
    """Gives the run's span as the parent to what the run starts."""

    def _with(self, headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
        trace = _trace()
        return headers if trace is None else {**headers, HEADER: trace.payload}

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        input.headers = self._with(input.headers)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        input.headers = self._with(input.headers)
        return super().start_local_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:
        input.headers = self._with(input.headers)
        return await super().start_child_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        # What came with the start, so that all executions of a run are side by side under it.
        given = workflow.info().headers.get(HEADER)
        if given is not None:
            input.headers = {**input.headers, HEADER: given}
        super().continue_as_new(input)


class ClientTracing(temporal_client.Interceptor):
    """Begins the trace of a run where it is started, or goes on with the caller's."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """See base class."""
        return _TracedCalls(next, self._tracing)


class _TracedCalls(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, tracing: Tracing) -> None:
        super().__init__(next)
        self._tracing = tracing

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        with self._tracing.start(input.workflow, input.id) as payload:
            input.headers = {**input.headers, HEADER: payload}
            return await super().start_workflow(input)
