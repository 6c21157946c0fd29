"""Workflows that use http, for tests with a worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Base64Bytes

from holdfast import step, template, workflow
from holdfast_executors import http

QUICK: Any = {"retry": "quick"}


@workflow
async def fetch(url: str, options: dict[str, Any]) -> http.HttpResponse:
    return await http.get(url, **options)


@workflow
async def fetch_all(url: str, by: str, max_pages: int) -> list[Any]:
    rules: dict[str, Any] = {
        "link": http.LinkPages(max_pages=max_pages),
        "cursor": http.CursorPages(next="body.next", max_pages=max_pages),
        "number": http.NumberPages(more="size(body.items) == 2", max_pages=max_pages),
    }
    found = await http.pages(url, rules[by], **QUICK)
    return [item for page in found for item in page.body["items"]]  # type: ignore[index,call-overload]


@workflow
async def fetch_all_with_key(url: str) -> list[Any]:
    key = template("{{ secrets.KEY }}")
    pages = await http.pages(
        url, http.LinkPages(next="body.next"), query={"key": key}, extract="body.items", **QUICK
    )
    return [page.body for page in pages]


@workflow
async def wait_until_done(url: str, max_calls: int, every: float) -> Any:
    answer = await http.poll(
        url, "body.state == 'done'", every=timedelta(seconds=every), max_calls=max_calls, **QUICK
    )
    return answer.body


@step
async def measure(data: Base64Bytes) -> int:
    return len(data)


@workflow
async def download(url: str) -> tuple[bool, int]:
    """Whether the run holds only a reference, and how much a step finds behind it."""
    answer = await http.get(url, response="bytes")
    assert answer.content is not None
    return answer.content.size_bytes > 0, await measure(answer.content)  # type: ignore[arg-type]


@workflow
async def with_secrets(url: str, how: str) -> Any:
    if how == "bearer":
        answer = await http.get(url, auth=http.BearerAuth(secret="KEY"), retry="none")
    elif how == "basic":
        answer = await http.get(url, auth=http.BasicAuth(username="me", secret="KEY"), retry="none")
    else:
        answer = await http.get(url, headers={"X-Key": template("k {{ secrets.KEY }}")}, retry="none")
    return answer.body
