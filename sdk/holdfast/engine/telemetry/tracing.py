"""Spans of starts, runs and attempts, through OpenTelemetry's SDK. Imported only where traces are on."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import propagate as propagate  # for `holdfast.tracing`, which imports none of this
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.activity import Info
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from holdfast.engine.telemetry.observing import RunEnd
from holdfast.engine.telemetry.trace_ids import RunTrace, carrier_of, carrier_payload
from holdfast.engine.telemetry.watch import outcome_of

_SCOPE: Final = "holdfast"
_FLUSH_SECONDS: Final = 5.0
_MESSAGE_CHARS: Final = 300

_W3C: Final = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


class Tracing:
    """Makes Holdfast's spans.

    Args:
        provider: Whose processors and sampler they go through.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(_SCOPE)

    @contextmanager
    def start(self, workflow: str, run_id: str) -> Generator[Payload]:
        """The span of a start; yields the header that goes with it."""
        with self._span(f"start {workflow}", SpanKind.CLIENT, {"temporalWorkflowID": run_id}):
            carrier: dict[str, str] = {}
            _W3C.inject(carrier)
            yield carrier_payload(carrier)

    @contextmanager
    def attempt(self, info: Info, step: str, headers: Mapping[str, Payload]) -> Generator[None]:
        """The span of one attempt of a step, current while it runs."""
        attributes = {
            "temporalWorkflowID": info.workflow_id or "",
            "temporalRunID": info.workflow_run_id or "",
            "temporalActivityID": info.activity_id,
            "holdfast.workflow": info.workflow_type or "",
            "holdfast.step": step,
            "holdfast.attempt": info.attempt,
            "holdfast.queue": info.task_queue,
        }
        parent = _W3C.extract(carrier_of(headers))
        with self._span(f"step {step}", SpanKind.CONSUMER, attributes, parent):
            yield

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Any], parent: Any = None
    ) -> Generator[Span]:
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind,
            attributes,
            record_exception=False,  # it would be the exception as raised, before secrets are hidden
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                _note_failure(span, error)
                raise

    def is_sampled(self, trace_id: int) -> bool:
        """Whether a trace that begins with a run is recorded."""
        decided = self._provider.sampler.should_sample(None, trace_id, "run", SpanKind.SERVER)
        return decided.decision == Decision.RECORD_AND_SAMPLE

    def run_ended(self, end: RunEnd) -> None:
        """The span of an execution, made whole at its end: whoever began it may be gone."""
        ids = end.trace
        if ids is None or not ids.sampled:
            return
        failed = end.outcome == "failed"
        span = ReadableSpan(
            f"run {end.workflow}",
            context=_context(ids, ids.span_id),
            parent=None if ids.parent_id is None else _context(ids, ids.parent_id),
            resource=self._provider.resource,
            attributes={
                "temporalWorkflowID": end.run_id,
                "temporalRunID": end.execution_id,
                "holdfast.workflow": end.workflow,
                "holdfast.outcome": end.outcome,
                **({"error.type": end.error_type} if failed and end.error_type else {}),
            },
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=int(end.started.timestamp() * 1e9),
            end_time=time.time_ns(),
            instrumentation_scope=InstrumentationScope(_SCOPE),
        )
        # The public way makes ids of its own, and those of a run have to be known before it ends.
        self._provider._active_span_processor.on_end(span)  # pyright: ignore[reportPrivateUsage]

    def flush(self) -> None:
        """Send what has not been sent. Gives up after five seconds."""
        sending = threading.Thread(target=self._provider.force_flush, name="holdfast-flush", daemon=True)
        sending.start()
        sending.join(_FLUSH_SECONDS)


def _context(ids: RunTrace, span_id: int) -> SpanContext:
    return SpanContext(
        trace_id=ids.trace_id,
        span_id=span_id,
        is_remote=span_id != ids.span_id,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _note_failure(span: Span, error: BaseException) -> None:
    outcome = outcome_of(error)
    if outcome != "failed":
        span.set_attribute("holdfast.outcome", outcome)
        return
    kind = error.type if isinstance(error, ApplicationError) else None
    span.set_attribute("error.type", kind or type(error).__name__)
    # What failures say has been redacted; of other exceptions nothing is known.
    said = error.message[:_MESSAGE_CHARS] if isinstance(error, ApplicationError) else None
    span.set_status(Status(StatusCode.ERROR, said))


def current_provider() -> TracerProvider | None:
    """The one that the program has set up, if it has."""
    found = trace.get_tracer_provider()
    return found if isinstance(found, TracerProvider) else None
