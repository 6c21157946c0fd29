"""What steps report to have used up, as they noted it with their results and failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue
from pydantic_core import from_json
from temporalio.api.common.v1 import Payload

from holdfast.authoring.info import USAGE
from holdfast.engine.history import Opened
from holdfast.engine.history.facts import StepFacts, Timeline
from holdfast.store.rows import Usage

_IN_FAILURE = "usage"
_MICROS = 1_000_000


def usage_of(line: Timeline, opened: Opened) -> Mapping[str, Usage]:
    """Tokens and money by activity id; without the steps that report none.

    Args:
        line: What the events say.
        opened: What a codec opened of `noted`.
    """
    found: dict[str, Usage] = {}
    for step in line.steps:
        reported = _reported(step, opened)
        tokens, cost = _amount(reported, "tokens"), _amount(reported, "cost_usd")
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


def _reported(step: StepFacts, opened: Opened) -> Mapping[str, JsonValue]:
    if step.result is not None:
        written = opened.metadata(step.result).get(USAGE)
        return _object(_parsed(written)) if written else {}
    if step.failure is not None:
        for payload in step.failure.application_failure_info.details.payloads:
            if used := _object(_object(opened.json(payload)).get(_IN_FAILURE)):
                return used
    return {}


def _amount(reported: Mapping[str, JsonValue], unit: str) -> float:
    value = reported.get(unit)
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0.0


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _parsed(data: bytes) -> JsonValue:
    try:
        value: JsonValue = from_json(data, allow_inf_nan=False)
    except ValueError:
        return None
    return value
