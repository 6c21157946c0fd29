"""What the steps of a run report to have used up, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from temporalio.api.common.v1 import Payload

from holdfast.engine.history import Opened
from holdfast.engine.history.facts import Timeline
from holdfast.engine.history.usage import reported_usage
from holdfast.store.rows import Usage

_MICROS = 1_000_000


def usage_of(line: Timeline, opened: Opened) -> Mapping[str, Usage]:
    """Tokens and money by activity id; without the steps that report none.

    Args:
        line: What the events say.
        opened: What a codec opened of `noted`.
    """
    found: dict[str, Usage] = {}
    for step in line.steps:
        tokens, cost = reported_usage(step, opened)
        if tokens or cost:
            found[step.activity_id] = Usage(tokens=round(tokens), cost_micros=round(cost * _MICROS))
    return found


def noted(line: Timeline) -> Iterator[Payload]:
    """The payloads with which it may be noted."""
    for step in line.steps:
        if step.result is not None:
            yield step.result
        if step.failure is not None:
            yield from step.failure.application_failure_info.details.payloads
