"""The `http` executor: one request, its answer within limits, to addresses that may be reached."""

from __future__ import annotations

import asyncio
import base64
import re
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal, cast, get_args

from pydantic import BaseModel, BeforeValidator, Field, JsonValue, WithJsonSchema

from holdfast import (
    Breaker,
    Executor,
    ExecutorContext,
    ExecutorOptions,
    InvalidConfiguration,
    InvalidInput,
    Limit,
    PayloadTooLarge,
    Ref,
    Unavailable,
)
from holdfast.authoring.next_call import FURTHER_CALLS, NextCall
from holdfast.settings import load
from holdfast.spec.duration import Duration
from holdfast.spec.expressions import compile
from holdfast_executors.http_auth import HeaderAuth, HttpAuth, OAuth2Auth
from holdfast_executors.http_body import (
    BodyType,
    Fields,
    body_problem,
    header_problem,
    shown_url,
    url_problem,
)
from holdfast_executors.http_breaker import HttpBreaker, breaker_of
from holdfast_executors.http_content import ResponseType, beginning, decoded, kind_of, read_value
from holdfast_executors.http_exchange import answered
from holdfast_executors.http_failures import connection_failure, failure_of
from holdfast_executors.http_guard import Guard, parse_allowed
from holdfast_executors.http_limit import HttpLimit, limit_of
from holdfast_executors.http_pages import (
    HttpPages,
    HttpPoll,
    evaluated,
    expressions_of,
    first_query,
    next_call,
)

if TYPE_CHECKING:
    import httpx

    from holdfast_executors.http_client import HttpClient

_MIB: Final = 1024 * 1024
_LONGEST: Final = timedelta(minutes=10)
_STATUS: Final = re.compile(r"([1-5])xx|([1-5]\d\d)(?:-([1-5]\d\d))?", re.IGNORECASE)
_INLINE_BYTES: Final = 24 * 1024
"""Longer bytes go to storage. As Base64 it is half of what a DAG looks at: status and headers stay in its sight."""

HttpMethod = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
_METHODS: Final[tuple[str, ...]] = get_args(HttpMethod)
_IN_ANY_CASE: Final = "|".join("".join(f"[{char}{char.lower()}]" for char in name) for name in _METHODS)


class HttpTimeouts(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """How long a call waits."""

    connect: Duration = timedelta(seconds=10)
    """For a connection, name resolution and TLS included."""
    read: Duration = timedelta(seconds=30)
    """For the next bytes of the answer, or until more of the request is taken."""
    total: Duration = timedelta(seconds=30)
    """For everything: redirects, a token, the whole body. At most 10 minutes."""


class HttpConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """One request."""

    method: Annotated[
        HttpMethod,
        BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "enum": _METHODS},
                    {
                        "type": "string",
                        "pattern": f"^(?:{_IN_ANY_CASE})$",
                        "title": "one of these in lower case",
                    },
                ]
            }
        ),
    ] = "GET"
    """The method, in any case; it is sent in upper case. With `POST`, `PUT`, `PATCH` and `DELETE` an `Idempotency-Key`
    is sent, the same on every attempt."""
    url: str
    """Where: `http` or `https`, without credentials."""
    headers: dict[str, str] = {}
    """Headers. An `Idempotency-Key` here takes the place of the one that would be sent."""
    query: Fields = {}
    """Parameters after those in the URL; a list repeats one, null leaves it out."""
    body: JsonValue = None
    """What is sent, as `body_type` says; null sends nothing."""
    body_type: BodyType = "json"
    """`json`: any value · `form`: an object of fields · `multipart`: a list of parts, each with `name` and `text` or
    `binary` (Base64), and for files `filename` and `content_type` · `text` · `binary`: Base64."""
    auth: HttpAuth | None = None
    """`bearer`, `basic`, `header` or `oauth2`, with the name of a secret. Default: none."""
    timeouts: HttpTimeouts = HttpTimeouts()
    """`connect` (10 s), `read` (30 s) and `total` (30 s)."""
    max_redirects: int = Field(default=5, ge=0, le=20)
    """How many redirects are followed. Another origin gets no credentials. 0: a redirect is an answer."""
    success_status: list[int | str] = ["2xx"]
    """What counts as success: statuses (`204`), ranges (`200-204`) and classes (`2xx`)."""
    response: ResponseType = "auto"
    """What the body is: `json`, `text`, `bytes`, or `auto`, as its `Content-Type` says."""
    extract: str = ""
    """A CEL expression over `status`, `headers` and `body`: what `body` is to be in the output. Default: all of it."""
    max_bytes: int = Field(default=10 * _MIB, ge=1, le=50 * _MIB)
    """The largest body, unpacked. More is an error, and is not read."""
    pages: HttpPages | None = Field(default=None, json_schema_extra=FURTHER_CALLS)
    """How the next page is found: by `link`, `cursor` or `number`. Each page is a step. Default: one page."""
    poll: HttpPoll | None = Field(default=None, json_schema_extra=FURTHER_CALLS)
    """Asks again `every` so often, until the expression `until` holds. Default: once."""
    limit: HttpLimit | None = None
    """How many calls all workers together make at a time (`concurrency`) or in a time (`rate`). Default: no limit."""
    breaker: HttpBreaker | None = None
    """When nobody calls a service that fails: `failures` in a row (5) and `reset` (30 s). Default: never."""


class HttpResponse(BaseModel, use_attribute_docstrings=True):
    """The answer."""

    status: int
    """The status."""
    headers: dict[str, str] = {}
    """Headers, their names in lower case; repeated ones are joined with commas."""
    url: str
    """Where it came from, redirects followed."""
    body: JsonValue = None
    """JSON, text, or what `extract` made of it. Null for bytes."""
    content: Ref[str] | None = None
    """Bytes, as Base64: a step gets them in a parameter of type `pydantic.Base64Bytes`. Large ones go to storage, and
    never through the run."""
    size_bytes: int = 0
    """How long the body was, unpacked."""
    elapsed: timedelta = timedelta(0)
    """The time from the first byte sent to the last one read, redirects included."""
    next: NextCall | None = None
    """With `pages` and `poll`: the call that follows. Null on the last one."""


async def open_client() -> AsyncIterator[HttpClient]:
    """The client of a worker. Tests put another in its place: `Worker(overrides={open_client: HttpClient(...)})`.

    Raises:
        InvalidConfiguration: httpx is not installed, or the allow-list cannot be read.
    """
    guard = Guard(parse_allowed(load().http_allow or ""))
    try:
        from holdfast_executors.http_client import HttpClient
    except ModuleNotFoundError as error:
        raise InvalidConfiguration(
            f"executor 'http' needs {error.name}, which is not installed: pip install 'holdfast[http]'"
        ) from None
    async with HttpClient(guard).opened() as client:
        yield client


class Http(Executor[HttpConfig, HttpResponse]):
    """Calls a service over HTTP.

    Statuses 408, 425, 429 and 5xx and errors of the connection are tried again, not before a `Retry-After` has passed;
    everything else fails at once. Only public addresses are reached, and what `HOLDFAST_HTTP_ALLOW` names.
    """

    type = "http"
    # One attempt ends by its own `timeouts.total`; this is the bound of that.
    options = ExecutorOptions(timeout=_LONGEST + timedelta(seconds=30))

    async def execute(self, ctx: ExecutorContext, config: HttpConfig, input: JsonValue) -> HttpResponse:
        """Send the request and read its answer.

        Raises:
            Unavailable, RetryAfter: It may succeed later.
            Permanent: The service refuses it.
            NotAllowed: It would go where the http executor does not go.
            InvalidInput, PayloadTooLarge: The answer is not what was asked for.
        """
        del input
        client = await ctx.get(open_client)
        from holdfast_executors.http_client import (
            FAILURES,
        )  # after the client, whose opening says if httpx is missing

        config = first_query(config)
        what, total = f"{config.method} {config.url:.500}", config.timeouts.total.total_seconds()
        began = time.monotonic()
        try:
            async with asyncio.timeout(total), answered(ctx, client, config) as response:
                await _check_status(response, what, config.success_status)
                try:
                    output = await _output(ctx, config, response)
                except (InvalidInput, PayloadTooLarge) as error:
                    raise type(error)(f"{what}: {error.message}", **error.details) from None
        except TimeoutError:
            raise Unavailable(f"{what}: not ready after timeouts.total={total:g} s") from None
        except FAILURES as error:
            raise connection_failure(what, error) from error
        return output.model_copy(update={"elapsed": timedelta(seconds=time.monotonic() - began)})

    def limit(self, config: HttpConfig) -> Limit | None:
        """The one that its config states."""
        return limit_of(config)

    def breaker(self, config: HttpConfig) -> Breaker | None:
        """The one that its config states."""
        return breaker_of(config)

    def validate(self, config: HttpConfig) -> list[str]:
        """What the schema cannot say."""
        problems = [header_problem(name, value) for name, value in config.headers.items()]
        if isinstance(config.auth, HeaderAuth):
            problems.append(header_problem(config.auth.name, ""))
        urls = {"url": config.url}
        if isinstance(config.auth, OAuth2Auth):
            urls["auth.token_url"] = config.auth.token_url
        for name, url in urls.items():
            problem = url_problem(url)
            problems.append(problem and f"{name}: {shown_url(url)!r}: {problem}")
        if config.timeouts.total > _LONGEST:
            problems.append(f"timeouts.total: {config.timeouts.total} is over {_LONGEST}")
        if config.pages is not None and config.poll is not None:
            problems.append("pages and poll: one of them")
        problems += [_status_problem(item) for item in config.success_status]
        problems += [_expression_problem(*item) for item in expressions_of(config).items()]
        problems.append(body_problem(config))
        return [problem for problem in problems if problem]


def _status_problem(item: int | str) -> str | None:
    if (found := _STATUS.fullmatch(str(item))) is not None:
        _, low, high = found.groups()
        backwards = low is not None and high is not None and low > high
        return f"success_status: {item!r} ends before it begins: no status is in it" if backwards else None
    return f"success_status: {item!r} is no status: write 204, '200-204' or '2xx'"


def _expression_problem(place: str, text: str) -> str | None:
    try:
        unknown = compile(text).names - {"status", "headers", "body"}
    except InvalidInput as error:
        return f"{place}: {error.message}"
    return f"{place}: there is no {min(unknown)!r}; there is status, headers and body" if unknown else None


def _is_success(status: int, wanted: list[int | str]) -> bool:
    for item in wanted:
        match = _STATUS.fullmatch(str(item))
        if match is None:
            continue
        whole, low, high = match.groups()
        if (status // 100 == int(whole)) if whole else int(low) <= status <= int(high or low):
            return True
    return False


async def _check_status(response: httpx.Response, what: str, wanted: list[int | str]) -> None:
    status = response.status_code
    if _is_success(status, wanted):
        return
    try:
        body = await beginning(response)
    except Exception:  # noqa: BLE001 - the status is what counts, whatever happens to the text after it
        body = b""
    raise failure_of(what, status, response.headers, body)


async def _output(ctx: ExecutorContext, config: HttpConfig, response: httpx.Response) -> HttpResponse:
    content_type = response.headers.get("content-type", "")
    kind = kind_of(config.response, content_type)
    output = HttpResponse(
        status=response.status_code,
        headers=dict(response.headers.items()),
        url=str(response.url),
    )
    pieces = decoded(response, config.max_bytes)
    body: JsonValue = None
    if kind == "bytes":
        output.content, output.size_bytes = await _kept(ctx, pieces)
    else:
        raw = b"".join([piece async for piece in pieces])
        output.size_bytes = len(raw)
        if kind == "auto" and not _is_utf8(raw):
            output.content = _inline(raw)
        else:
            body = await read_value(raw, kind, content_type, config.max_bytes)
    answer: dict[str, Any] = {"status": output.status, "headers": output.headers, "body": body}
    output.next = await next_call(config, answer, output.url)
    output.body = await evaluated(config.extract, answer) if config.extract else body
    return output


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in raw


async def _kept(ctx: ExecutorContext, pieces: AsyncIterator[bytes]) -> tuple[Ref[str] | None, int]:
    """A body as Base64, on its way to storage if it is large."""
    with tempfile.SpooledTemporaryFile[bytes](max_size=_MIB) as spool:
        file = cast("BinaryIO", spool)
        async for piece in pieces:
            file.write(piece)
        size_bytes = file.tell()
        kept = await ctx.keep(file) if size_bytes > _INLINE_BYTES else None
        if kept is None and size_bytes:
            file.seek(0)
            kept = _inline(file.read())
        return kept, size_bytes


def _inline(raw: bytes) -> Ref[str]:
    return Ref("", 0, type=str, inline=base64.b64encode(raw).decode("ascii"))
