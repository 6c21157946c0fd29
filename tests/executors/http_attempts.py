"""Single attempts of the http executor, as a worker runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from holdfast.testing.executor_bench import Bench, Ended
from holdfast_executors.http_client import HttpClient
from holdfast_executors.http_guard import Guard, Resolve, ask_system, parse_allowed
from holdfast_executors.http_request import Http, open_client

LOCAL = "127.0.0.1"


def guarded(allow: str = LOCAL, resolve: Resolve = ask_system, **options: Any) -> HttpClient:
    """A client with an allow-list and a name service of its own."""
    return HttpClient(Guard(parse_allowed(allow), resolve), **options)


async def attempt(
    config: Mapping[str, Any],
    *,
    client: HttpClient | None = None,
    secrets: Mapping[str, str] | None = None,
    number: int = 1,
) -> Ended:
    """One attempt."""
    async with (
        (client or guarded()).opened() as opened,
        Bench(Http, secrets or {}, {open_client: opened}) as bench,
    ):
        return await bench.attempt(config, None, number=number)


async def output(config: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The output of an attempt that succeeds."""
    ended = await attempt(config, **options)
    assert ended.error is None, ended.error
    found: dict[str, Any] = from_json(ended.output.data)
    return found


async def refused(config: Mapping[str, Any], **options: Any) -> str:
    """What an attempt says that fails for good."""
    ended = await attempt(config, **options)
    assert ended.error is not None
    assert ended.error.non_retryable, ended.error
    return f"{ended.error.type}: {ended.error.message}"


async def postponed(config: Mapping[str, Any], **options: Any) -> str:
    """What an attempt says that is to be made again."""
    ended = await attempt(config, **options)
    assert ended.error is not None
    assert not ended.error.non_retryable, ended.error
    return f"{ended.error.type}: {ended.error.message}"
