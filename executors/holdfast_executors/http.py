"""HTTP in code: `await http.get(url)` is a durable step inside a workflow, and a plain call elsewhere.

```python
from holdfast_executors import http

@workflow
async def report(city: str) -> str:
    weather = await http.get("https://api.example.com/weather", query={"q": city}, auth=http.BearerAuth(secret="KEY"))
    return weather.body["summary"]
```
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from pydantic import JsonValue
from typing_extensions import Unpack

from holdfast import InvalidInput, Ref, RetryPolicy
from holdfast.authoring.execution import Template, call_of
from holdfast.authoring.next_call import Trail
from holdfast_executors.http_auth import BasicAuth as BasicAuth
from holdfast_executors.http_auth import BearerAuth as BearerAuth
from holdfast_executors.http_auth import HeaderAuth as HeaderAuth
from holdfast_executors.http_auth import HttpAuth
from holdfast_executors.http_auth import OAuth2Auth as OAuth2Auth
from holdfast_executors.http_body import Fields
from holdfast_executors.http_body import HttpPart as HttpPart
from holdfast_executors.http_breaker import HttpBreaker as HttpBreaker
from holdfast_executors.http_content import ResponseType
from holdfast_executors.http_limit import HttpLimit as HttpLimit
from holdfast_executors.http_pages import CursorPages as CursorPages
from holdfast_executors.http_pages import HttpPages
from holdfast_executors.http_pages import LinkPages as LinkPages
from holdfast_executors.http_pages import NumberPages as NumberPages
from holdfast_executors.http_request import Http as Http
from holdfast_executors.http_request import HttpConfig as HttpConfig
from holdfast_executors.http_request import HttpResponse as HttpResponse
from holdfast_executors.http_request import HttpTimeouts as HttpTimeouts


class CallOptions(TypedDict, total=False):
    """How the step runs; see `StepOptions`."""

    retry: RetryPolicy | str
    queue: str
    priority: int
    summary: str


class RequestOptions(CallOptions, total=False):
    """What every call may set; see `HttpConfig`. Texts in `headers` and `query` may be `template(...)`, for secrets."""

    headers: Mapping[str, str | Template]
    query: Mapping[str, Template | str | int | float | bool | Sequence[str | int | float | bool] | None]
    auth: HttpAuth
    timeouts: HttpTimeouts
    max_redirects: int
    success_status: Sequence[int | str]
    response: ResponseType
    extract: str
    max_bytes: int
    limit: HttpLimit
    breaker: HttpBreaker


class BodyOptions(RequestOptions, total=False):
    """The body, at most one of these."""

    json: JsonValue
    form: Fields
    multipart: Sequence[HttpPart]
    text: str
    binary: bytes


_BODIES = ("json", "form", "multipart", "text", "binary")


async def get(url: str, **options: Unpack[RequestOptions]) -> HttpResponse:
    """`GET` a URL.

    Args:
        url: `http` or `https`, without credentials.
        **options: See `RequestOptions`.

    Raises:
        StepFailed: In a workflow: the attempts are used up, or the service refuses it.
    """
    return await _once("GET", url, dict(options))


async def post(url: str, **options: Unpack[BodyOptions]) -> HttpResponse:
    """`POST` to a URL, with a key by which the service knows a repeated attempt. See `get`."""
    return await _once("POST", url, dict(options))


async def put(url: str, **options: Unpack[BodyOptions]) -> HttpResponse:
    """`PUT` to a URL. See `post`."""
    return await _once("PUT", url, dict(options))


async def patch(url: str, **options: Unpack[BodyOptions]) -> HttpResponse:
    """`PATCH` a URL. See `post`."""
    return await _once("PATCH", url, dict(options))


async def delete(url: str, **options: Unpack[BodyOptions]) -> HttpResponse:
    """`DELETE` a URL. See `post`."""
    return await _once("DELETE", url, dict(options))


async def request(method: str, url: str, **options: Unpack[BodyOptions]) -> HttpResponse:
    """Any method of `HttpConfig`. See `post`."""
    return await _once(method, url, dict(options))


async def pages(
    url: str, by: HttpPages, *, method: str = "GET", **options: Unpack[BodyOptions]
) -> list[HttpResponse]:
    """All pages of a list, each one a step of its own: after a crash, those that are there are not fetched again.

    Args:
        url: Of the first page.
        by: How the next page is found: `LinkPages()`, `CursorPages(next="body.cursor")` or
            `NumberPages(more="size(body) > 0")`.
        method: Of every call.
        **options: See `RequestOptions`; `extract="body.items"` keeps only what is needed.

    Raises:
        StepFailed: In a workflow: a page could not be fetched.
        InvalidInput: The pages go round in a circle, or there are more than `max_pages`.
    """
    return [page async for page in _following(method, url, {**options, "pages": by})]


async def poll(
    url: str,
    until: str,
    *,
    every: timedelta = timedelta(seconds=5),
    max_calls: int = 100,
    method: str = "GET",
    **options: Unpack[BodyOptions],
) -> HttpResponse:
    """Ask until something holds. Each call is a step and each wait a durable timer, so it may take days.

    Args:
        url: What to ask.
        until: A CEL expression over `status`, `headers` and `body`: `body.state == 'done'`.
        every: The time between two calls; a longer `Retry-After` of the service counts instead.
        max_calls: How often it is asked at most, up to 1,000.
        method: Of every call.
        **options: See `RequestOptions`.

    Returns:
        The answer for which it holds.

    Raises:
        WaitTimeout: It did not hold after so many calls.
        StepFailed: In a workflow: a call failed.
    """
    rule = {"until": until, "every": every.total_seconds(), "max_calls": max_calls}
    last: HttpResponse | None = None
    async for answer in _following(method, url, {**options, "poll": rule}):
        last = answer
    assert last is not None
    return last


async def _once(method: str, url: str, options: Mapping[str, Any]) -> HttpResponse:
    config, call = _split(method, url, options)
    return await Http.call(config, **call)


def _split(method: str, url: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], CallOptions]:
    """The config that options make, and what is said of the step."""
    bodies = [kind for kind in _BODIES if kind in options]
    if len(bodies) > 1:
        raise TypeError(f"http.{method.lower()}() got {' and '.join(bodies)}: a request has one body")
    of_step: Any = {name: value for name, value in options.items() if name in CallOptions.__annotations__}
    config: dict[str, Any] = {"method": method, "url": url}
    config |= {name: value for name, value in options.items() if name not in (*_BODIES, *of_step)}
    for kind in bodies:
        body = options[kind]
        config |= {
            "body_type": kind,
            "body": base64.b64encode(body).decode("ascii") if kind == "binary" else body,
        }
    return config, of_step


async def _following(method: str, url: str, options: Mapping[str, Any]) -> AsyncGenerator[HttpResponse]:
    """The answer to a call, and those to the calls that follow from it."""
    first, call = _split(method, url, options)
    step: Callable[..., Awaitable[HttpResponse]] = Http.step.with_options(**call) if call else Http.step
    trail = Trail()
    while True:
        answer: Any = await step(call_of(Http, first, None, trail.patch), None)
        if isinstance(answer, Ref):
            raise InvalidInput(
                f"answer {trail.count + 1} of {url!r:.500} has {answer.size_bytes} bytes, more than a run looks at: "
                "keep less of it by extract"
            )
        yield answer
        following = answer.next
        trail.follow(f"{url!r:.500}", following)
        if following is None:
            return
        if following.delay is not None:
            await asyncio.sleep(following.delay.total_seconds())
