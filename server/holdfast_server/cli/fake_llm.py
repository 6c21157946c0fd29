"""`holdfast fake-llm`: an endpoint that answers like a language model, for demos and for tests of other programs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import typer
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from holdfast import InvalidInput, NotFound
from holdfast.spec.cel_values import is_list, is_map
from holdfast.testing.fake_llm import FakeLLM
from holdfast.testing.llm_answers import LLMAnswer, LLMFault, LLMToolCall, Outcome
from holdfast.testing.llm_limits import LLMRateLimit
from holdfast.testing.llm_rules import FEATURES, Feature
from holdfast_server.cli.command import command
from holdfast_server.cli.duration import duration
from holdfast_server.cli.output import note, print_json, say
from holdfast_server.cli.target import Target

DEFAULT_PORT = 8282
_SHOWN_PROBLEMS = 5


class _Tool(BaseModel, extra="forbid", strict=True):
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])


class _Answer(BaseModel, extra="forbid", strict=True):
    """One answer in a file."""

    text: str | None = None
    value: JsonValue = None
    tools: list[_Tool] = Field(default_factory=list[_Tool])
    refusal: str | None = None
    fault: (
        Literal[
            "rate_limited",
            "quota_exhausted",
            "server_error",
            "context_length",
            "content_filter",
            "unauthorised",
            "forbidden",
            "no_such_model",
            "empty",
            "html",
            "wrong_shape",
            "truncated",
            "cut",
            "reset",
            "hang",
        ]
        | None
    ) = None
    retry_after: str | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        given = self.model_fields_set - {"when", "retry_after"}
        if not given:
            raise ValueError("it says nothing: give text, value, tools, refusal or fault")
        if len(given) > 1 and given != {"text", "tools"}:
            raise ValueError(f"{' and '.join(sorted(given))} do not go together")
        if "retry_after" in self.model_fields_set and self.fault != "rate_limited":
            raise ValueError("retry_after goes with the fault rate_limited only")
        return self

    @property
    def outcome(self) -> Outcome:
        if self.fault == "rate_limited":
            return LLMFault.rate_limited(self.retry_after)
        if self.fault is not None:
            made: LLMFault = getattr(LLMFault, self.fault)()
            return made
        if is_map(self.value):
            return self.value
        if is_list(self.value):
            return list(self.value)
        if "value" in self.model_fields_set:
            return json.dumps(self.value)
        tools = [LLMToolCall(name=tool.name, arguments=tool.arguments) for tool in self.tools]
        return LLMAnswer(self.text or "", tool_calls=tools, refusal=self.refusal)


class _Rule(_Answer):
    when: str

    @field_validator("when")
    @classmethod
    def _is_a_pattern(cls, when: str) -> str:
        try:
            re.compile(when)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"this is no pattern: {error}") from None
        return when


def _texts(item: object) -> object:
    return {"text": item} if isinstance(item, str) else item


class _Answers(BaseModel, extra="forbid", strict=True):
    script: list[Annotated[_Answer, BeforeValidator(_texts)]] = Field(default_factory=list[_Answer])
    rules: list[_Rule] = Field(default_factory=list[_Rule])


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "fake-llm", serves=True)(fake_llm)


async def fake_llm(
    target: Target,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = DEFAULT_PORT,
    answers: Annotated[
        Path | None, typer.Option(help="A JSON file with a script and rules; see the guide on testing.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that is there. Default: every one.")
    ] = None,
    latency: Annotated[
        timedelta, typer.Option(parser=duration, help="Before the first byte, such as 200ms.")
    ] = timedelta(0),
    refuse: Annotated[
        list[str] | None, typer.Option(help=f"What is answered with an error: {', '.join(FEATURES)}.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="What is taken and not done: json_schema, json_object, tools.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="More are answered with 429. Default: no limit.")
    ] = None,
) -> None:
    """Answer like a language model behind OpenAI's API, on 127.0.0.1, until Ctrl-C. No model is behind it."""
    read = _read(answers) if answers is not None else _Answers()
    limit = (
        LLMRateLimit(requests=requests_per_minute, per=timedelta(minutes=1)) if requests_per_minute else None
    )
    llm = FakeLLM(
        *(one.outcome for one in read.script),
        models=model,
        latency=latency,
        refuses=_features(refuse),
        ignores=_features(ignore),
        rate_limit=limit,
        port=port,
    )
    for rule in read.rules:
        llm.rule(rule.when, rule.outcome)
    with llm:
        if target.json:
            print_json({"base_url": llm.base_url}, indent=None)
        else:
            say(llm.base_url)
            note(f"OPENAI_BASE_URL={llm.base_url} OPENAI_API_KEY=any ...")
        await asyncio.Event().wait()


def _features(given: list[str] | None) -> list[Feature]:
    known: Mapping[str, Feature] = {feature: feature for feature in FEATURES}
    for name in given or []:
        if name not in known:
            raise InvalidInput(f"there is no feature {name!r}; known: {', '.join(FEATURES)}")
    return [known[name] for name in given or []]


def _read(file: Path) -> _Answers:
    try:
        return _Answers.model_validate_json(file.read_bytes())
    except OSError as error:
        raise NotFound(f"--answers {str(file)!r}: {error.strerror}") from error
    except ValidationError as error:
        raise _numbered(error, f"--answers {str(file)!r}") from None


def _numbered(error: ValidationError, where: str) -> InvalidInput:
    """What is wrong with a file, by the numbers of its rules as people count."""
    lines: list[str] = []
    problems = error.errors(include_url=False, include_context=False)
    for problem in problems[:_SHOWN_PROBLEMS]:
        path = list(problem["loc"])
        if len(path) > 1 and path[0] in ("rules", "script") and isinstance(path[1], int):
            path[:2] = [f"{'rule' if path[0] == 'rules' else 'script'} {path[1] + 1}"]
        reason = problem["msg"].removeprefix("Value error, ")
        shown = "" if len(path) == 1 and is_map(problem["input"]) else f", got {problem['input']!r:.80}"
        lines.append(f"{': '.join(map(str, path)) or 'the file'}: {reason}{shown}")
    more = f"; and {len(problems) - len(lines)} more" if len(problems) > len(lines) else ""
    return InvalidInput(f"{where}: {'; '.join(lines)}{more}", error_count=len(problems))
