"""What must not get into a request, and what a service tells back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .http_attempts import attempt, output, refused
from .http_service import Asked, always, reply, serving

CANARY = "canary-5h4v9q-sings"


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\0", "\x0b", "\u2028"])
async def test_no_line_break_gets_into_a_request(line_break: str) -> None:
    injected = f"x{line_break}X-Injected: 1"
    async with serving(always(reply("ok"))) as service:
        for config in (
            {"headers": {"X-A": injected}},
            {"headers": {injected: "x"}},
            {"url": f"{service.url}/{injected}"},
            {"auth": {"type": "header", "name": injected, "secret": "KEY"}},
            {"auth": {"type": "header", "name": "X-A", "secret": "KEY"}},
            {"auth": {"type": "bearer", "secret": "KEY"}},
        ):
            ended = await attempt({"url": service.url, **config}, secrets={"KEY": injected})
            assert ended.error is None or ended.error.non_retryable
        await output({"url": service.url, "query": {injected: injected}})
        multipart = [{"name": injected, "filename": injected, "content_type": "text/plain", "text": "x"}]
        await output({"url": service.url, "method": "POST", "body": multipart, "body_type": "multipart"})
        assert all("x-injected" not in asked.headers for asked in service.asked)
        head = service.asked[-1].body.split(b"\r\n\r\n")[0]
        assert b"\nX-Injected" not in head
        assert b"\rX-Injected" not in head


async def test_a_part_with_a_line_break_in_its_type_is_refused() -> None:
    async with serving(always(reply("ok"))) as service:
        multipart = [{"name": "a", "content_type": "text/plain\r\nX-Injected: 1", "text": "x"}]
        config = {"url": service.url, "method": "POST", "body": multipart, "body_type": "multipart"}
        assert "content_type" in await refused(config)
        assert service.asked == []


async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Tells everything that it was sent, as some services do in their errors."""
    said = json.dumps(
        {"headers": asked.headers, "target": asked.target, "body": asked.body.decode("latin-1")}
    )
    status = int(asked.path.removeprefix("/") or 200)
    writer.write(reply(said.encode(), status, Content_Type="application/json", X_Echo=CANARY))


@pytest.fixture
async def echoing() -> AsyncIterator[str]:
    async with serving(echo) as service:
        yield service.url


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize(
    "where",
    [
        {"auth": {"type": "bearer", "secret": "KEY"}},
        {"auth": {"type": "basic", "username": "me", "secret": "KEY"}},
        {"auth": {"type": "header", "name": "X-Api-Key", "secret": "KEY"}},
        {"headers": {"X-Key": "{{ secrets.KEY }}"}},
        {"query": {"key": "{{ secrets.KEY }}"}},
        {"method": "POST", "body": {"key": "{{ secrets.KEY }}"}},
    ],
)
async def test_a_secret_that_the_service_tells_back_is_hidden(
    echoing: str, where: dict[str, Any], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ended = await attempt({"url": f"{echoing}/{status}", **where}, secrets={"KEY": CANARY})
    shown = f"{ended.output}{ended.error!r}{ended.error and ended.error.__cause__!r}{caplog.text}"
    assert (ended.error is None) == (status == 200)
    assert "***" in shown
    assert CANARY not in shown
