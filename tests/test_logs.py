"""Log messages carry their context, as text and as JSON, and workflow code says things once."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Generator, Iterator
from io import StringIO
from typing import Any

import pytest

from holdfast import Client, Worker, step, step_info, workflow
from holdfast.logs import ContextFilter, JsonFormatter
from holdfast.redaction import Redactor, redacting_logs

log = logging.getLogger("shop")


@step
async def charge(amount: int) -> int:
    log.info("charging %d", amount, extra={"amount": amount})
    return amount


@step
def ship(amount: int) -> int:
    if step_info().attempt == 1:
        log.warning("no van")
        raise ValueError("no van today")
    log.info("shipped")
    return amount


@workflow
async def sells(amount: int) -> int:
    log.info("selling")
    paid = await charge(amount)
    await asyncio.sleep(0.05)
    return await ship(paid)


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    async with Client.embedded(None) as client:
        yield client


class Lines:
    """What was logged, as JSON."""

    def __init__(self, stream: StringIO) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (json.loads(line, parse_constant=_refuse) for line in self._stream.getvalue().splitlines())


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@pytest.fixture
def lines() -> Generator[Lines]:
    handler = logging.StreamHandler(stream := StringIO())
    handler.addFilter(ContextFilter())
    handler.setFormatter(JsonFormatter())
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield Lines(stream)
    log.removeHandler(handler)
    log.setLevel(level)


async def test_messages_of_steps_and_workflows_say_what_they_are_about(client: Client, lines: Lines) -> None:
    # Nothing is cached, so that each task replays what was before.
    async with Worker(client, [sells], max_cached_runs=0):
        assert await client.run(sells, 3, id="sale-1") == 3
    told = {(line["message"], line.get("attempt")): line for line in lines}
    assert list(told) == [("selling", None), ("charging 3", 1), ("no van", 1), ("shipped", 2)]
    assert len(list(lines)) == 4
    for line in lines:
        assert line["run_id"] == "sale-1"
        assert line["workflow"] == "sells"
        assert line["logger"] == "shop"
        assert len(line["execution_id"]) == 36
        assert "@" in line["worker"]
    charging = told["charging 3", 1]
    assert (charging["step"], charging["level"], charging["amount"]) == ("charge", "INFO", 3)
    assert charging["time"].endswith("+00:00")
    assert told["shipped", 2]["step"] == "ship"
    assert "step" not in told["selling", None]


def test_outside_of_steps_there_is_no_context(lines: Lines) -> None:
    log.info("hello")
    (line,) = lines
    assert line.keys() == {"time", "level", "logger", "message"}


def test_errors_have_a_type_and_a_stack(lines: Lines) -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        log.exception("failed")
    (line,) = lines
    assert (line["error"]["type"], line["error"]["message"]) == ("ValueError", "no\nway")
    assert "test_errors_have" in line["error"]["stack"]


def test_secrets_are_hidden_in_messages_fields_and_errors(lines: Lines) -> None:
    redactor, secret = Redactor(), "-".join(["hunter2"] * 2)
    redactor.add(secret)
    with redacting_logs(redactor):
        try:
            raise ValueError(f"key {secret}")
        except ValueError:
            log.exception("with %s", secret, extra={"header": [secret]})
    assert secret not in json.dumps(list(lines))
    (line,) = lines
    assert line["header"] == ["***"]


def test_messages_with_line_breaks_and_odd_values_stay_one_line(lines: Lines) -> None:
    log.info("a\nb\x1b", extra={"run_id": "mine", "value": object(), "broken": float("nan")})
    (line,) = lines
    assert line["message"] == "a\nb\x1b"
    assert line["run_id"] == "mine"
    assert line["broken"] == "nan"
