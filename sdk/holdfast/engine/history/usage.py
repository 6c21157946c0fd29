"""What steps report to have used up, as they noted it with their results and failures."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue
from pydantic_core import from_json

from holdfast.authoring.info import USAGE
from holdfast.engine.history.facts import StepFacts
from holdfast.engine.history.payloads import Opened

_IN_FAILURE = "usage"


def reported_usage(step: StepFacts, opened: Opened) -> tuple[float, float]:
    """Tokens and US dollars that a step noted; zeros where it noted none.

    Args:
        step: A step.
        opened: What a codec opened of its result, and of the details of its failure.
    """
    reported = _reported(step, opened)
    return _amount(reported, "tokens"), _amount(reported, "cost_usd")


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
