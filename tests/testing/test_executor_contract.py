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


def failing(
    executor: type[Executor[Any, Any]], how: str, *, key: str = "", slow: str | None = None
) -> list[str]:
    """The names of the checks that fail."""
    checks = executor_contract(
        executor,
        good=[{"how": how, "key": key}],
        bad=[{"how": "refuses"}],
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
    checks = executor_contract(Base, good=[{"how": "x"}], bad=[{"how": "transient"}, {"how": "nothing"}])
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

    documented = executor_contract(Silent, good=[{"how": "x"}], bad=[{}])[0]
    with pytest.raises(AssertionError, match="has no docstring"):
        documented()
    Silent.__doc__ = "Says nothing."
    with pytest.raises(AssertionError, match=r"fields without a description: Bare\.how;"):
        executor_contract(Silent, good=[{"how": "x"}], bad=[{}])[0]()


def test_it_needs_cases() -> None:
    with pytest.raises(InvalidInput, match="at least one good and one bad"):
        executor_contract(Base, good=[], bad=[{}])
