"""The ids of a run's trace, which every worker derives alike: so nothing is kept that a kill could lose.

The client's span comes with the start, in the header that Temporal's own interceptors use in all languages. A run that
nobody traced at its start, such as one of a schedule, gets ids from its execution.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from temporalio.api.common.v1 import Payload

HEADER: Final = "_tracer-data"
"""Temporal's own name; its value is a JSON object with `traceparent` and, perhaps, `tracestate` and `baggage`."""

TRACEPARENT: Final = "traceparent"

_FORM: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""W3C Trace Context, version 00."""


@dataclass(frozen=True, kw_only=True)
class RunTrace:
    """The trace that one execution of a run belongs to."""

    trace_id: int
    span_id: int
    """Of the execution's own span, the parent of those of its steps and children."""
    parent_id: int | None
    sampled: bool
    carried: Mapping[str, str]
    """What came with the start."""

    @functools.cached_property
    def payload(self) -> Payload:
        """The header for what the run starts."""
        flags = "01" if self.sampled else "00"
        parent = f"00-{self.trace_id:032x}-{self.span_id:016x}-{flags}"
        return carrier_payload({**self.carried, TRACEPARENT: parent})


def run_trace(
    headers: Mapping[str, Payload],
    *,
    first_execution_id: str,
    execution_id: str,
    is_sampled: Callable[[int], bool],
) -> RunTrace:
    """The trace of an execution.

    Args:
        headers: Those that it was started with.
        first_execution_id: The first of the executions that continue each other.
        execution_id: Its own.
        is_sampled: Decides for a trace that begins with the run.
    """
    carried = carrier_of(headers)
    span_id = _number(execution_id, 8)
    match = _FORM.fullmatch(carried.get(TRACEPARENT, ""))
    if match is not None:
        trace_id, parent_id = int(match[1], 16), int(match[2], 16)
        if trace_id and parent_id:
            sampled = bool(int(match[3], 16) & 1)
            return RunTrace(
                trace_id=trace_id, span_id=span_id, parent_id=parent_id, sampled=sampled, carried=carried
            )
    trace_id = _number(first_execution_id, 16)
    return RunTrace(
        trace_id=trace_id, span_id=span_id, parent_id=None, sampled=is_sampled(trace_id), carried=carried
    )


def carrier_of(headers: Mapping[str, Payload]) -> dict[str, str]:
    """What stands in the header, if it is there and can be read."""
    payload = headers.get(HEADER)
    if payload is None:
        return {}
    try:
        found: Any = json.loads(payload.data)
        return {str(name): str(value) for name, value in found.items()}
    except (ValueError, AttributeError):  # of whoever else uses the name
        return {}


def carrier_payload(carrier: Mapping[str, str]) -> Payload:
    """The header as it travels."""
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(dict(carrier)).encode())


def _number(text: str, size_bytes: int) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size_bytes).digest(), "big") or 1
