"""What a `FakeLLM` is told to answer, checked before it serves: a mistake in a rule is no answer of a model."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from holdfast.errors import InvalidConfiguration
from holdfast.spec.cel_values import is_list, is_map
from holdfast.testing.llm_answers import LLMAnswer, LLMFault, LLMToolCall, LLMUsage


def checked_condition(when: Any, where: str) -> Any:
    """The condition of a rule, its pattern compiled.

    Raises:
        InvalidConfiguration: It is none.
    """
    if isinstance(when, str):
        try:
            return re.compile(when)
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidConfiguration(f"{where}: when: {when!r:.100} is no pattern: {error}") from None
    if callable(when) or isinstance(getattr(when, "pattern", None), str):
        return when
    raise InvalidConfiguration(f"{where}: when: {when!r:.100} is no text, pattern of text, or function")


def check_outcome(outcome: object, where: str) -> None:
    """Refuse what cannot be answered. What functions will return is not known yet.

    Raises:
        InvalidConfiguration: With the field and the reason.
    """
    if isinstance(outcome, LLMAnswer | LLMFault):
        _check_fields(outcome, where)
    elif is_map(outcome) or is_list(outcome):
        try:
            json.dumps(outcome)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidConfiguration(f"{where}: the value cannot be sent as JSON: {error}") from None
    elif not isinstance(outcome, str) and not callable(outcome):
        raise InvalidConfiguration(
            f"{where}: {outcome!r:.100} is no text, value, LLMAnswer, LLMFault, or function that returns one"
        )


def _check_fields(given: LLMAnswer | LLMFault | LLMToolCall | LLMUsage, where: str) -> None:
    kind = type(given)
    hints = get_type_hints(kind)
    for field in dataclasses.fields(given):
        value: object = getattr(given, field.name)
        if is_map(value):
            value = dict(value)  # strict is about what is in it
        try:
            TypeAdapter(hints[field.name]).validate_python(value, strict=True)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            said = f"{problem['msg']}, got {problem['input']!r:.100}"
            raise InvalidConfiguration(f"{where}: {kind.__name__}.{field.name}: {said}") from None
    if isinstance(given, LLMAnswer):
        for part in (*given.tool_calls, given.usage):
            if isinstance(part, LLMToolCall | LLMUsage):
                _check_fields(part, where)
    if isinstance(given, LLMToolCall):
        check_outcome(given.arguments, f"{where}: LLMToolCall.arguments")
    if isinstance(given, LLMFault) and not 100 <= given.status <= 599:
        raise InvalidConfiguration(f"{where}: LLMFault.status: {given.status} is no HTTP status")
