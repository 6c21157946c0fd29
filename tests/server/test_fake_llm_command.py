"""`holdfast fake-llm` as a process."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from openai import OpenAI
from tests.server.conftest import Cli

GOOD = {"when": "a", "text": "b"}


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"rules": [GOOD, {"when": "(", "text": "b"}]}, "rule 2: when: this is no pattern: missing )"),
        ({"rules": [GOOD, {**GOOD, "colour": "red"}]}, "rule 2: colour: Extra inputs are not permitted"),
        ({"rules": [{**GOOD, "text": 5}]}, "rule 1: text: Input should be a valid string, got 5"),
        ({"rules": [{"text": "b"}]}, "rule 1: when: Field required"),
        ({"rules": [{"when": "a"}]}, "rule 1: it says nothing"),
        ({"rules": [{**GOOD, "fault": "hang"}]}, "rule 1: fault and text do not go together"),
        ({"rules": [{"when": "a", "fault": "fire"}]}, "rule 1: fault: Input should be 'rate_limited'"),
        ({"rules": [{**GOOD, "retry_after": "2"}]}, "rule 1: retry_after goes with"),
        ({"rules": [{"when": "a", "tools": [{"name": 5}]}]}, "rule 1: tools: 0: name: Input should be"),
        ({"rules": GOOD}, "rules: Input should be a valid array"),
        ({"script": ["a", 5]}, "script 2: "),
        ({"script": ["a", {"fault": "fire"}]}, "script 2: fault: "),
        ({"rule": []}, "rule: Extra inputs are not permitted"),
    ],
)
def test_a_broken_file_is_refused_and_nothing_served(cli: Cli, answers: Any, says: str) -> None:
    (cli.folder / "answers.json").write_text(json.dumps(answers))
    ended = cli("fake-llm", "--port", "0", "--answers", "answers.json")
    assert ended.returncode == 2
    assert "answers.json" in ended.stderr
    assert says in " ".join(ended.stderr.split())
    assert ended.stdout == ""


def test_a_file_with_every_kind_of_answer_is_served(cli: Cli) -> None:
    answers = {
        "script": ["Hello!", {"value": 7}, {"refusal": "I will not."}, {"tools": [{"name": "t"}], "text": "Look:"}],
        "rules": [{"when": "x", "value": {"city": "Paris"}}, {"when": ".*", "text": ""}],
    }  # fmt: skip
    (cli.folder / "answers.json").write_text(json.dumps(answers))
    with cli.background("fake-llm", "--port", "0", "--answers", "answers.json", "--json") as server:
        server.until(lambda output: "base_url" in output)
        told = json.loads(next(line for line in server.output.splitlines() if line.startswith("{")))
        with OpenAI(base_url=told["base_url"], api_key="any", max_retries=0) as api:

            def ask(prompt: str) -> Any:
                asked: Any = [{"role": "user", "content": prompt}]
                return api.chat.completions.create(model="m", messages=asked).choices[0].message

            assert [ask("?").content, ask("?").content, ask("?").refusal] == ["Hello!", "7", "I will not."]
            assert ask("?").tool_calls[0].function.name == "t"
            assert [ask("x").content, ask("y").content] == ['{"city": "Paris"}', ""]
        assert server.stop(signal.SIGTERM) == 0
