"""What a `FakeLLM` is told to answer is checked before it serves."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from holdfast import InvalidConfiguration
from holdfast.testing import FakeLLM, LLMAnswer, LLMFault, LLMToolCall, LLMUsage


@pytest.mark.parametrize(
    ("when", "answer", "says"),
    [
        ("(", "a", "when: '\\(' is no pattern: missing \\)"),
        (5, "a", "when: 5 is no text"),
        (re.compile(b"a"), "a", "when: .*pattern of text"),
        ("a", 5, "5 is no text, value, LLMAnswer"),
        ("a", {"at": object()}, "cannot be sent as JSON"),
        ("a", LLMAnswer(5), "LLMAnswer.text: Input should be a valid string, got 5"),  # type: ignore[arg-type]
        ("a", LLMAnswer(headers={"a": 5}), "LLMAnswer.headers"),  # type: ignore[dict-item]
        ("a", LLMAnswer(finish_reason="done"), "LLMAnswer.finish_reason"),  # type: ignore[arg-type]
        ("a", LLMAnswer(usage=LLMUsage(input_tokens="5")), "LLMUsage.input_tokens"),  # type: ignore[arg-type]
        ("a", LLMAnswer(tool_calls=[LLMToolCall(name="t", arguments={"a": {1}})]), "LLMToolCall.arguments"),
        ("a", LLMFault(status=7), "LLMFault.status: 7"),
        ("a", LLMFault(breaks="often"), "LLMFault.breaks"),  # type: ignore[arg-type]
    ],
)
def test_a_broken_rule_is_refused_when_it_is_made_and_named_by_its_number(
    when: Any, answer: Any, says: str
) -> None:
    llm = FakeLLM()
    llm.rule("good", "a")
    with pytest.raises(InvalidConfiguration, match=f"rule 2: .*{says}"):
        llm.rule(when, answer)
    llm.rule("good too", "b")


@pytest.mark.parametrize("outcome", [None, 5, {"at": object()}, LLMFault(status=0), LLMAnswer(None)])  # type: ignore[arg-type]
def test_a_broken_script_is_refused_before_it_serves(outcome: Any) -> None:
    with pytest.raises(InvalidConfiguration, match="script 2: "):
        FakeLLM("good", outcome)
    llm = FakeLLM("one", "two")
    with pytest.raises(InvalidConfiguration, match="script 4: "):
        llm.script("three", outcome)
    assert llm.script_left_count == 2


@pytest.mark.parametrize(
    "outcome",
    [
        "a", {"a": [1, None]}, [1], LLMAnswer("a", headers={"a": "b"}, latency=timedelta(1), usage=None),
        LLMAnswer(tool_calls=(LLMToolCall(name="t", arguments="no json"),), usage=LLMUsage(input_tokens=1)),
        LLMFault.rate_limited("3"), LLMFault.html(), LLMFault.hang(), str,
    ],
)  # fmt: skip
def test_every_kind_of_outcome_is_taken(outcome: Any) -> None:
    FakeLLM(outcome).rule(re.compile("a"), outcome)
