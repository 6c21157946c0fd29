"""How a `FakeLLM` finds what to answer, and what it refuses as real endpoints do."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from holdfast.spec.cel_values import is_list, is_map
from holdfast.testing.llm_answers import LLMAnswer, LLMFault, LLMToolCall, Outcome
from holdfast.testing.llm_checks import check_outcome, checked_condition
from holdfast.testing.llm_request import LLMRequest
from holdfast.testing.llm_sample import sample

Feature: TypeAlias = Literal[
    "chat", "responses", "stream", "background", "json_schema", "json_object", "tools"
]
"""What an endpoint may not have."""

FEATURES: Final[tuple[Feature, ...]] = (
    "chat",
    "responses",
    "stream",
    "background",
    "json_schema",
    "json_object",
    "tools",
)

Answering: TypeAlias = Outcome | Callable[[LLMRequest], Outcome]
Condition: TypeAlias = str | re.Pattern[str] | Callable[[LLMRequest], bool]


class Rules:
    """What to answer to which request."""

    def __init__(self, script: Sequence[Answering]) -> None:
        self._script = deque[Answering]()
        self._scripted_count = 0
        self._rules: list[tuple[Condition, Answering]] = []
        self._lock = threading.Lock()
        self.script(script)

    def script(self, outcomes: Sequence[Answering]) -> None:
        """Add to what is answered next."""
        for number, outcome in enumerate(outcomes, self._scripted_count + 1):
            check_outcome(outcome, f"script {number}")
        with self._lock:
            self._scripted_count += len(outcomes)
            self._script.extend(outcomes)

    @property
    def left_count(self) -> int:
        """How much of the script is left."""
        return len(self._script)

    def add(self, when: Condition, answer: Answering) -> None:
        """Add a rule; earlier ones win."""
        where = f"rule {len(self._rules) + 1}"
        condition = checked_condition(when, where)
        check_outcome(answer, where)
        self._rules.append((condition, answer))

    def outcome(self, request: LLMRequest, ignored: Collection[Feature]) -> LLMAnswer | LLMFault:
        """The answer to a request: the script's next, else that of the first rule that fits, else a sample."""
        with self._lock:
            answering = self._script.popleft() if self._script else None
        if answering is None:
            answering = next((answer for when, answer in self._rules if _holds(when, request)), None)
        if answering is None:
            return _sampled(request, ignored)
        outcome = answering(request) if callable(answering) else answering
        return _whole(outcome, request, ignored)


def _holds(when: Condition, request: LLMRequest) -> bool:
    if isinstance(when, str | re.Pattern):
        return re.search(when, request.prompt) is not None
    return when(request)


def _whole(outcome: Outcome, request: LLMRequest, ignored: Collection[Feature]) -> LLMAnswer | LLMFault:
    if isinstance(outcome, LLMAnswer | LLMFault):
        return outcome
    if isinstance(outcome, str):
        return LLMAnswer(outcome)
    tool = request.forced_tool
    if tool is not None and "tools" not in ignored and isinstance(outcome, Mapping):
        return LLMAnswer(tool_calls=[LLMToolCall(name=tool["name"], arguments=outcome)])
    return LLMAnswer(json.dumps(outcome))


def _sampled(request: LLMRequest, ignored: Collection[Feature]) -> LLMAnswer | LLMFault:
    tool = request.forced_tool
    if tool is not None and "tools" not in ignored:
        return _whole(sample(tool.get("parameters") or {}), request, ignored)
    if request.schema_format and "json_schema" not in ignored:
        return _whole(sample(request.schema_format.get("schema") or {}), request, ignored)
    if request.format.get("type") == "json_object" and "json_object" not in ignored:
        return LLMAnswer('{"answer": "sample"}')
    return LLMAnswer(f"An answer to: {request.prompt}")


def refusal(request: LLMRequest, refused: Collection[Feature]) -> LLMFault | None:
    """How an endpoint refuses what it does not have, or what the API does not take."""
    format_of = request.format.get("type")
    where = "response_format" if request.api == "chat" else "text.format"
    if request.api in refused:
        return LLMFault.error(404, f"Unknown request URL: POST /v1/{request.api}.", code="unknown_url")
    for feature, used in (("stream", request.stream), ("background", request.background)):
        if used and feature in refused:
            return LLMFault.error(400, f"Unsupported parameter: {feature!r}.", param=feature)
    if request.tools and "tools" in refused:
        return LLMFault.error(400, "Unsupported parameter: 'tools'.", param="tools")
    if format_of in refused:
        message = f"Invalid parameter: {where!r} of type {format_of!r} is not supported with this model."
        return LLMFault.error(400, message, param=where)
    if format_of == "json_object" and "json" not in request.text.lower():
        message = f"'messages' must contain the word 'json' to use {where!r} of type 'json_object'."
        return LLMFault.error(400, message, param="messages")
    described = request.schema_format
    if described and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(described.get("name", ""))):
        return LLMFault.error(400, f"Invalid {where!r}: 'name' is missing or wrong.", param=where)
    if described.get("strict") and (problem := _not_strict(described.get("schema") or {})):
        message = f"Invalid schema for {where} {described['name']!r}: {problem}"
        return LLMFault.error(400, message, param=where, code="invalid_json_schema")
    return None


def _not_strict(schema: object) -> str | None:
    """What a strict schema must not be: an object that takes more, or less, than it names."""
    if is_list(schema):
        return next((problem for part in schema if (problem := _not_strict(part))), None)
    if not is_map(schema):
        return None
    properties = schema.get("properties")
    if is_map(properties):
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        if set(schema.get("required", [])) != set(properties):
            return "'required' is required to be supplied and to include every key in properties."
    return _not_strict(list(schema.values()))
