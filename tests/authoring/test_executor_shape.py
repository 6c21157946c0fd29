"""What an executor says of itself is refused where it is written, with the class and what to write."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field, JsonValue

from holdfast import (
    Executor,
    ExecutorContext,
    ExecutorOptions,
    InvalidConfiguration,
    InvalidExecutor,
    InvalidInput,
    Limit,
    RetryPolicy,
    StepOptions,
    step,
)
from holdfast.authoring.execution import call_of, templates_in_code


class Config(BaseModel, extra="forbid"):
    statement: str = ""
    code: str = Field(default="", alias="sourceCode")


class Base(Executor[Config, JsonValue]):
    async def execute(self, ctx: ExecutorContext, config: Config, input: JsonValue) -> JsonValue:
        return None


def declared(**members: Any) -> type[Executor[Any, Any]]:
    return type("Reader", (Base,), {"type": "reader", "__module__": "shop", **members})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": 3}, "options = {'timeout': 3}: write ExecutorOptions(timeout=3)"),
        (None, "options = None: write ExecutorOptions(...)"),
        (ExecutorOptions, "options = <class 'holdfast.options.ExecutorOptions'>: write ExecutorOptions(...)"),
        (StepOptions(), "write ExecutorOptions(...)"),
    ],
)
def test_options_are_an_object_of_their_class(options: object, says: str) -> None:
    with pytest.raises(InvalidExecutor, match=rf"^shop\.Reader: .*{re.escape(says)}"):
        declared(options=options)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"retry": {"max_attempts": 5}}, "retry = {'max_attempts': 5}: write RetryPolicy(max_attempts=5)"),
        ({"retry": "patient"}, "retry = 'patient': write RetryPolicy(...)"),
        ({"timeout": None}, "timeout=None: an attempt ends at some time"),
        ({"idempotent": "no"}, "idempotent='no': write True or False"),
        ({"code_fields": "statement"}, "code_fields='statement': write a tuple of names"),
        ({"code_fields": (1,)}, "code_fields=(1,): write a tuple of names"),
    ],
)
def test_an_option_of_the_wrong_kind_is_refused(option: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(says)):
        ExecutorOptions(**option)
    assert ExecutorOptions(retry=RetryPolicy(max_attempts=5), timeout=timedelta(seconds=3))


def test_a_limit_of_a_step_is_an_object_too() -> None:
    wrong: Any = {"key": "a", "rate": "1/s"}

    async def pay(cents: int) -> None: ...

    with pytest.raises(InvalidConfiguration, match=re.escape("write Limit(key='a', rate='1/s')")):
        step(limit=wrong)(pay)
    assert StepOptions(limit=Limit(key="a", rate="1/s"))


def test_fields_that_hold_code_are_fields() -> None:
    says = (
        r"^shop\.Reader: code_fields has 'statment', which is no field of Config\. "
        r"Did you mean 'statement'\? There is: statement, code"
    )
    with pytest.raises(InvalidExecutor, match=says):
        declared(options=ExecutorOptions(code_fields=("statment",)))


@pytest.mark.parametrize("name", ["code", "sourceCode"])
@pytest.mark.parametrize("written", ["code", "sourceCode"])
def test_code_is_known_by_the_name_of_its_field_and_by_its_alias(name: str, written: str) -> None:
    executor = declared(options=ExecutorOptions(code_fields=(name,)))
    assert templates_in_code(executor, {written: "{{ input }}"}).startswith(f"{written}: this is code")
    assert templates_in_code(executor, {"statement": "{{ input }}"}) == ""


async def later(self: object, config: Config) -> None: ...


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (
            {"limit": {"rate": "1/s"}},
            "limit = {'rate': '1/s'}: write `def limit(self, config) -> Limit | None`",
        ),
        ({"validate": ["x"]}, "validate = ['x']: write `def validate(self, config) -> Sequence[str]`"),
        ({"limit": later}, "limit does no I/O: write it without async"),
    ],
)
def test_a_method_is_a_method(member: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidExecutor, match=rf"^shop\.Reader: {re.escape(says)}"):
        declared(**member)


def test_the_config_of_a_call_is_one_or_makes_one() -> None:
    wrong: Any = "statement"
    with pytest.raises(InvalidInput, match="takes a Config or a mapping, got 'statement'"):
        call_of(declared(), wrong, None)
