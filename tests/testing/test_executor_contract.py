"""The contract suite finds what it promises to find."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import time
from typing import Any

import pytest
from pydantic import BaseModel, Field, JsonValue

from holdfast import Executor, ExecutorContext, ExecutorOptions, InvalidInput
from holdfast.testing import executor_contract

KEY = "s3cr3t-value"


class Config(BaseModel, extra="forbid"):
    how: str = Field(description="What it does.")
    key: str = Field(default="", description="A secret.")


class Output(BaseModel):
    text: str = Field(description="What came out.")


class Base(Executor[Config, Any]):
    """Does what the test says."""

    type = "base"
    options = ExecutorOptions(idempotent=True)
    kept: list[str] = []  # noqa: RUF012 - what one of them does wrong

    async def execute(self, ctx: ExecutorContext, config: Config, input: JsonValue) -> Any:
        match config.how:
            case "keeps":
                self.last = config.how
            case "keeps in the class":
                type(self).kept = [*self.kept, "more"]
            case "twice":
                if ctx.attempt > 1:
                    raise RuntimeError("it is there already")
            case "prints":
                print("the key:", config.key)
            case "hides":
                return {"text": config.key[::-1]}
            case "logs":
                logging.getLogger("other").info("the key: %s", config.key)
                ctx.logger.info(base64.b64encode(f"user:{config.key}".encode()).decode())
            case "unserialisable":
                return object()
            case "blocks":
                time.sleep(2.5)  # noqa: ASYNC251 - what it does wrong
            case "ignores":
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    await asyncio.sleep(1.5)
            case "waits":
                await asyncio.sleep(30)
            case "transient":
                raise RuntimeError("perhaps later")
            case "refuses":
                raise InvalidInput("never")
            case _:
                pass
        return {"text": config.how}


BAD: list[dict[str, Any]] = [{"how": "refuses"}, {}, {"how": 1}, {"how": "refuses", "what": 1}, {"key": ""}]


def failing(
    executor: type[Executor[Any, Any]], how: str, *, key: str = "", slow: str | None = None
) -> list[str]:
    """The names of the checks that fail."""
    checks = executor_contract(
        executor,
        good=[{"how": how, "key": key}],
        bad=BAD,
        slow={"how": slow} if slow else None,
        secrets={"KEY": KEY},
    )
    found: list[str] = []
    for check in checks:
        try:
            check()
        except AssertionError as error:
            found.append(f"{check}: {error}")
    return found


def test_a_good_executor_passes() -> None:
    assert failing(Base, "nothing", slow="waits") == []
    assert failing(Base, "logs", key="{{ secrets.KEY }}") == []


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("keeps", "good 0 leaves nothing in the executor: an attempt left last"),
        ("keeps in the class", "an attempt changed kept of the class"),
        ("twice", "good 0 succeeds again: it says that it is idempotent, and attempt 2 failed"),
        ("unserialisable", "good 0 succeeds: .* cannot be written as JSON"),
        ("transient", "good 0 succeeds: .* perhaps later"),
    ],
)
def test_a_broken_executor_fails(how: str, says: str) -> None:
    assert re.search(says, failing(Base, how)[0])


def test_a_secret_on_standard_output_is_found() -> None:
    assert failing(Base, "prints", key="{{ secrets.KEY }}") == [
        "good 0 shows no secret: the value of the secret 'KEY' is in standard output"
    ]


@pytest.mark.parametrize(
    ("slow", "says"),
    [
        ("blocks", "was meant to be slow, and ended"),
        ("ignores", "it went on for more than 1 s after its cancel"),
        ("nothing", "was meant to be slow, and ended"),
    ],
)
def test_a_cancel_that_is_not_honoured_is_found(slow: str, says: str) -> None:
    [found] = failing(Base, "nothing", slow=slow)
    assert says in found


def test_a_bad_config_that_would_be_tried_again_is_found() -> None:
    checks = executor_contract(
        Base, good=[{"how": "x"}], bad=[{"how": "transient"}, {"how": "nothing"}, *BAD[:3]]
    )
    named = {str(check): check for check in checks}
    with pytest.raises(AssertionError, match=r"would be tried again: .*perhaps later; raise Permanent"):
        named["bad 0 is refused for good"]()
    with pytest.raises(AssertionError, match="succeeded"):
        named["bad 1 is refused for good"]()


class Bare(BaseModel, extra="forbid"):
    how: str


def test_undocumented_fields_are_found() -> None:
    class Silent(Executor[Bare, Output]):
        type = "silent"

        async def execute(self, ctx: ExecutorContext, config: Bare, input: JsonValue) -> Output:
            return Output(text="")

    documented = executor_contract(Silent, good=[{"how": "x"}], bad=BAD)[0]
    with pytest.raises(AssertionError, match="has no docstring"):
        documented()
    Silent.__doc__ = "Says nothing."
    with pytest.raises(AssertionError, match=r"fields without a description: Bare\.how;"):
        executor_contract(Silent, good=[{"how": "x"}], bad=BAD)[0]()


GOOD: list[Any] = [{"how": "x"}]


@pytest.mark.parametrize(
    ("slip", "says"),
    [
        ({"good": []}, "needs 1 good config at least, got 0"),
        ({"bad": BAD[:4]}, "needs 5 bad configs at least, got 4"),
        ({"bad": [*BAD, {"how": "refuses"}]}, r"bad\[5\] is the same as bad\[0\]"),
        ({"good": {"how": "x"}}, "good= takes a list of configs, got {'how': 'x'}: put it in brackets"),
        ({"good": [Config(how="x")]}, r"good\[0\] is a Config: write the config as a document holds it"),
        ({"good": ["how"]}, r"good\[0\] is 'how': a config is a mapping"),
        ({"slow": ["how"]}, r"slow\[0\] is \['how'\]: a config is a mapping"),
        ({"secrets": {"KEY": "short"}}, r"secrets\['KEY'\] is to be a text of 6 characters or more"),
        ({"secrets": {"KEY": 123456}}, r"secrets\['KEY'\] is to be a text"),
        ({"overrides": {"client": 1}}, "overrides= has the key 'client': write the provider itself"),
        ({"executor": Base()}, r"takes the class: write Base, not Base\(\)"),
        ({"executor": Config}, "takes a subclass of Executor, got <class"),
        ({"executor": Executor}, "Executor has no `type`"),
    ],
)
def test_what_would_check_nothing_is_refused(slip: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"executor": Base, "good": GOOD, "bad": BAD, **slip}
    with pytest.raises(InvalidInput, match=says):
        executor_contract(given.pop("executor"), **given)


def test_without_secrets_no_check_says_that_none_is_shown() -> None:
    names = [str(check) for check in executor_contract(Base, good=GOOD, bad=BAD)]
    assert not [name for name in names if "secret" in name]
    assert "bad 4 is refused for good" in names


class Inner(BaseModel):
    size: int = Field(default=1, description="How large.")


class Outer(BaseModel, extra="forbid"):
    inner: Inner = Field(default=Inner(), description="What is in it.")


def test_unknown_fields_inside_of_the_config_are_found() -> None:
    class Nested(Executor[Outer, Output]):
        """Nests."""

        type = "nested"

        async def execute(self, ctx: ExecutorContext, config: Outer, input: JsonValue) -> Output:
            return Output(text="")

    closed = executor_contract(Nested, good=[{}], bad=BAD)[1]
    with pytest.raises(AssertionError, match=r"^Inner takes unknown fields, so that a misspelt one"):
        closed()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"validate": "no good"}, "validate gave 'no good': it gives a list of sentences"),
        ({"validate": None}, "validate gave None"),
        ({"validate": [""]}, r"validate gave \[''\]"),
        ({"limit": {"rate": "1/s"}}, r"limit gave {'rate': '1/s'}: it gives a Limit"),
    ],
)
def test_methods_that_give_something_else_are_found(given: dict[str, Any], says: str) -> None:
    class Slips(Base):
        """Slips."""

        type = "slips"

        def validate(self, config: Config) -> Any:
            return given.get("validate", [])

        def limit(self, config: Config) -> Any:
            return given.get("limit")

    named = {str(check): check for check in executor_contract(Slips, good=GOOD, bad=BAD)}
    with pytest.raises(AssertionError, match=says):
        named["bad 0 is refused for good"]()
