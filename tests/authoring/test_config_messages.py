"""A config that does not fit is told in the same plain sentence before a run starts and where the executor runs."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, JsonValue, field_validator

from holdfast import Executor, ExecutorContext, InvalidInput
from holdfast.authoring.catalogue import validate_here
from holdfast.authoring.execution import checked
from holdfast.authoring.lent import problems_of_tools
from holdfast.authoring.registry import registry
from holdfast.redaction import Redactor
from holdfast.spec.document import load_value
from holdfast.spec.schema_words import validator_of

METHODS = '"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE" or one of these in lower case'
SCALARS = "text, a number, true or false"


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("http", {"method": "FETCH"}, f'method: expected {METHODS}, got "FETCH"'),
    ("http", {"method": 3}, f"method: expected {METHODS}, got 3"),
    ("http", {"response": "xml"}, 'response: expected "auto", "json", "text" or "bytes", got "xml"'),
    (
        "http",
        {"auth": {"type": "bear", "secret": "A"}},
        'auth.type: expected "bearer", "basic", "header" or "oauth2", got "bear"',
    ),
    ("http", {"auth": {"secret": "A"}}, "auth: the field 'type' is missing: it says which one it is, "),
    ("http", {"auth": {"type": "basic", "secret": "A"}}, "auth: the field 'username' is missing"),
    ("http", {"auth": "bearer"}, "auth: expected an object with 'type': "),
    ("http", {"query": {"a": {"b": 1}}}, f'query.a: expected {SCALARS}, a list or null, got {{"b": 1}}'),
    ("http", {"query": {"a": [[1]]}}, f"query.a[0]: expected {SCALARS} or null, got [1]"),
    ("http", {"success_status": [{}]}, "success_status[0]: expected a whole number or text, got {}"),
    ("http", {"pages": {"by": "link", "max_pages": "x"}}, 'pages.max_pages: expected a whole number, got "x"'),
    (
        "http",
        {"method": "POST", "body_type": "form", "body": {"a": {"b": 1}}},
        f"body: is not what body_type='form' takes: a: expected {SCALARS}, a list or null, got {{\"b\": 1}}",
    ),
    (
        "http",
        {"method": "POST", "body_type": "multipart", "body": "a"},
        "body: is not what body_type='multipart' takes: expected a list, got \"a\"",
    ),
    ("transform", {"mapping": {"a": 1}}, "mapping.a: expected text, got 1"),
    ("transform", {"jq": ".", "outputs": "all"}, 'outputs: expected "one" or "list", got "all"'),
    ("transform", {"passthrough": False}, "passthrough: expected true, got false"),
    ("llm", {"model": "m", "messages": [{"role": "user", "content": 3}]}, "content: expected text or a list"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "config", "said"), WRONG)
def test_one_sentence_names_the_field_the_value_and_what_is_allowed(
    kind: str, config: dict[str, Any], said: str
) -> None:
    config = {"url": "http://a.test", **config} if kind == "http" else config
    before, at_run_time = both(kind, config)
    for message in (before, at_run_time):
        assert said in message
        assert "Input should" not in message
        assert "\n" not in message
        assert message.count(" got ") <= 1


@pytest.mark.parametrize("method", ["post", "Post", "POST"])
def test_methods_are_taken_in_any_case(method: str) -> None:
    config = {"url": "http://a.test", "method": method, "body": 1}
    spec = load_value({"name": "x", "nodes": [{"id": "a", "type": "http", "config": config}]})
    assert validate_here(spec) == []
    made = checked(registry().executors.find("http")(), config, "", Redactor())
    assert made.model_dump()["method"] == "POST"


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class PaintConfig(BaseModel, extra="forbid"):
    color: Color | int = Color.RED
    name: str | list[str] = ""

    @field_validator("name")
    @classmethod
    def known(cls, name: object) -> object:
        if name == "nobody":
            raise ValueError("nobody paints")
        return name


class Paint(Executor[PaintConfig, JsonValue]):
    type = "paint"

    async def execute(self, ctx: ExecutorContext, config: PaintConfig, input: JsonValue) -> JsonValue:
        return None


def refused(config: dict[str, Any], redactor: Redactor | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        checked(Paint(), config, "The config", redactor or Redactor())
    return caught.value.message


def test_executors_of_others_get_the_same_sentences() -> None:
    start = "The config does not fit its declared type PaintConfig: "
    assert (
        refused({"color": "green"}) == f'{start}color: expected "red", "blue" or a whole number, got "green"'
    )
    assert refused({"colour": "red"}).endswith(
        "colour: there is no such field. Did you mean 'color'? There is: color, name"
    )
    assert refused({"name": "nobody"}).startswith(f"{start}name: nobody paints, got 'nobody'")
    assert refused({"color": {}, "name": 1, "x": 1}) == (
        f'{start}color: expected "red", "blue" or a whole number, got {{}}; '
        "name: expected text or a list, got 1; x: there is no such field. There is: color, name"
    )


@pytest.mark.parametrize("length", [8, 77, 500])
def test_a_value_that_is_quoted_hides_secrets_also_where_it_is_cut(length: int) -> None:
    secret = "hunter2"
    redactor = Redactor()
    redactor.add(secret)
    said = refused({"color": "x" * (length - 1) + secret + "y" * 100}, redactor)
    assert "hunt" not in said
    assert len(said) < 300


def both(kind: str, config: dict[str, Any]) -> tuple[str, str]:
    """What is said before a run starts, and by the executor."""
    spec = load_value({"name": "x", "nodes": [{"id": "a", "type": kind, "config": config}]})
    [finding] = validate_here(spec)
    assert finding.code == "HF-D031"
    with pytest.raises(InvalidInput) as caught:
        checked(registry().executors.find(kind)(), config, "The config of 'a'", Redactor())
    return finding.message, caught.value.message


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"minLength": "x"}])
def test_what_is_wrong_with_a_schema_shows_the_value(schema: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"'strin'|'x'") as refused:
        validator_of(schema)
    assert "\0" not in str(refused.value)


def test_a_tool_may_say_none_for_what_it_is_not() -> None:
    entry = {"step": "shop.find", "executor": None, "name": None, "takes": None}
    assert problems_of_tools([entry]) == []
    assert problems_of_tools([{"step": None, "executor": None}]) != []
