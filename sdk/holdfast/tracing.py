"""Spans of the calls that executors make, where traces are on.

OpenTelemetry is not imported here: where nobody else has imported it, no span is current.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from holdfast.redaction import current_redactor

Attribute = str | int | float | list[str]


class Outgoing:
    """One call to a service, and its span if there is one."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    @property
    def is_traced(self) -> bool:
        """Whether what is set goes anywhere."""
        return self._span is not None

    @property
    def headers(self) -> dict[str, str]:
        """What tells the service of the trace: `traceparent`, and what else the program's propagators add."""
        carrier: dict[str, str] = {}
        if self._span is not None:
            sys.modules["opentelemetry.propagate"].inject(carrier)
        return carrier

    def set(self, attributes: Mapping[str, Attribute | None]) -> None:
        """Describe the call; None is left out, and secrets are hidden."""
        if self._span is None:
            return
        redactor = current_redactor()
        for name, value in attributes.items():
            if value is not None:
                hidden = redactor.text(value) if redactor is not None and isinstance(value, str) else value
                self._span.set_attribute(name, hidden)

    def fail(self, error_type: str) -> None:
        """Mark it as failed, by the kind of its error alone: its text may quote anything."""
        if self._span is not None:
            trace = sys.modules["opentelemetry.trace"]
            self._span.set_attribute("error.type", error_type)
            self._span.set_status(trace.Status(trace.StatusCode.ERROR))


_UNTRACED = Outgoing()


@contextmanager
def outgoing(name: str, attributes: Mapping[str, Attribute | None]) -> Generator[Outgoing]:
    """The span of a call to a service, below that of the running step. Without one nothing is made.

    Args:
        name: Of the span, with few different values: `GET`, `chat gpt-5`.
        attributes: OpenTelemetry's semantic conventions have their names.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or "opentelemetry.propagate" not in sys.modules:
        yield _UNTRACED
        return
    if not trace.get_current_span().get_span_context().is_valid:
        yield _UNTRACED
        return
    with trace.get_tracer("holdfast").start_as_current_span(
        name, kind=trace.SpanKind.CLIENT, record_exception=False, set_status_on_exception=False
    ) as span:
        made = Outgoing(span)
        made.set(attributes)
        try:
            yield made
        except BaseException as error:
            made.fail(type(error).__name__)
            raise
