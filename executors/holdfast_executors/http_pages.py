"""Pages and polling: what an answer says about the next call."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel, Field

from holdfast import InvalidInput
from holdfast.authoring.next_call import NextCall
from holdfast.spec.duration import Duration
from holdfast.spec.expressions import compile, evaluate_anywhere
from holdfast_executors.http_failures import retry_after

if TYPE_CHECKING:
    from holdfast_executors.http_request import HttpConfig

_LINK: Final = re.compile(r"<([^<>]*)>((?:\s*;\s*[^;,\"]+(?:\"[^\"]*\")?)*)")
_REL: Final = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;\"]+))", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class LinkPages(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """The answer names the URL of the next page."""

    by: Literal["link"] = "link"
    """`link`."""
    next: str = ""
    """A CEL expression over `status`, `headers` and `body` that gives the URL, or null after the last page. Default:
    the `Link` header's `rel="next"`."""
    max_pages: int = Field(default=100, ge=1, le=1000)
    """More pages than these are an error."""


class CursorPages(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """The answer holds a cursor, which goes into the query of the next call."""

    by: Literal["cursor"] = "cursor"
    """`cursor`."""
    next: str
    """A CEL expression over `status`, `headers` and `body` that gives the cursor, or null or "" after the last page."""
    parameter: str = "cursor"
    """The query parameter that takes it."""
    max_pages: int = Field(default=100, ge=1, le=1000)
    """More pages than these are an error."""


class NumberPages(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Pages, or offsets, are counted."""

    by: Literal["number"] = "number"
    """`number`."""
    more: str
    """A CEL expression over `status`, `headers` and `body`: whether another page follows: `size(body) == 100`."""
    parameter: str = "page"
    """The query parameter that takes the number."""
    first: int = 1
    """The number of the first page."""
    step: int = Field(default=1, ge=1)
    """From one number to the next: 1 for pages, their size for offsets."""
    max_pages: int = Field(default=100, ge=1, le=1000)
    """More pages than these are an error."""


HttpPages = Annotated[LinkPages | CursorPages | NumberPages, Field(discriminator="by")]


class HttpPoll(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Asks again until something holds."""

    until: str
    """A CEL expression over `status`, `headers` and `body`; true ends it."""
    every: Duration = timedelta(seconds=5)
    """The time between two calls; a longer `Retry-After` of the service counts instead."""
    max_calls: int = Field(default=100, ge=1, le=1000)
    """More calls than these are an error."""


def expressions_of(config: HttpConfig) -> dict[str, str]:
    """The expressions of a config, by where they stand."""
    found = {"extract": config.extract}
    if isinstance(config.pages, NumberPages):
        found["pages.more"] = config.pages.more
    elif config.pages is not None:
        found["pages.next"] = config.pages.next
    if config.poll is not None:
        found["poll.until"] = config.poll.until
    return {place: text for place, text in found.items() if text}


async def evaluated(text: str, answer: Mapping[str, Any]) -> Any:
    """An expression over an answer."""
    return await asyncio.to_thread(evaluate_anywhere, compile(text), answer)


def first_query(config: HttpConfig) -> HttpConfig:
    """The config of a first call, with the number of the first page."""
    pages = config.pages
    if isinstance(pages, NumberPages) and pages.parameter not in config.query:
        return config.model_copy(update={"query": {**config.query, pages.parameter: pages.first}})
    return config


async def next_call(config: HttpConfig, answer: Mapping[str, Any], url: str) -> NextCall | None:
    """The call that follows an answer.

    Args:
        config: Of this call.
        answer: `status`, `headers` and `body`.
        url: Where the answer came from.

    Raises:
        InvalidInput: The answer does not say it in a way that can be followed.
    """
    if config.poll is not None:
        return await _again(config.poll, answer)
    pages = config.pages
    if pages is None:
        return None
    if isinstance(pages, NumberPages):
        return await _following(pages, config, answer)
    if isinstance(pages, CursorPages):
        cursor: object = await evaluated(pages.next, answer)
        if cursor is None or cursor == "":
            return None
        if isinstance(cursor, bool) or not isinstance(cursor, str | int):
            raise InvalidInput(
                f"pages.next gave {cursor!r:.200}, which is no cursor: a text or a whole number is"
            )
        if str(cursor) == str(config.query.get(pages.parameter, "")):
            raise InvalidInput(f"the page at cursor {cursor!r:.200} names itself as the next one")
        return NextCall(patch={"query": {pages.parameter: cursor}}, max_calls=pages.max_pages)
    link: object = (
        await evaluated(pages.next, answer) if pages.next else _link(answer["headers"].get("link", ""))
    )
    if link is None or link == "":
        return None
    if not isinstance(link, str):
        raise InvalidInput(f"pages.next gave {link!r:.200}, which is no URL")
    target = urljoin(url, link)
    if not _same_place(config.url, target):
        raise InvalidInput(
            f"the next page is {target!r:.500}, which is not on {urlsplit(config.url).netloc}: it is not asked for, "
            "since it would get what the config sends, credentials included"
        )
    if target == url:
        raise InvalidInput(f"the page {url!r:.500} names itself as the next one")
    return NextCall(patch={"url": target, "query": None}, max_calls=pages.max_pages)


async def _again(poll: HttpPoll, answer: Mapping[str, Any]) -> NextCall | None:
    if compile(poll.until).as_bool(await evaluated(poll.until, answer)):
        return None
    asked = retry_after(answer["headers"].get("retry-after")) or timedelta(0)
    return NextCall(delay=max(poll.every, asked), max_calls=poll.max_calls, repeats=True)


async def _following(pages: NumberPages, config: HttpConfig, answer: Mapping[str, Any]) -> NextCall | None:
    if not compile(pages.more).as_bool(await evaluated(pages.more, answer)):
        return None
    number: Any = config.query[pages.parameter]
    try:
        following = int(number) + pages.step
    except (TypeError, ValueError):
        raise InvalidInput(
            f"query.{pages.parameter} is {number!r:.200}, and pages are counted by it"
        ) from None
    return NextCall(patch={"query": {pages.parameter: following}}, max_calls=pages.max_pages)


def _link(header: str) -> str | None:
    """The target of `rel="next"` in a `Link` header (RFC 8288)."""
    for target, parameters in _LINK.findall(header):
        rel = _REL.search(parameters)
        if rel is not None and "next" in (rel[1] or rel[2] or "").lower().split():
            return str(target)
    return None


def _same_place(asked: str, target: str) -> bool:
    """Whether two URLs have the same host and port, the second one no less protected."""
    one, other = urlsplit(asked), urlsplit(target)
    if (one.hostname or "").lower() != (other.hostname or "").lower():
        return False
    if (one.scheme, other.scheme) == ("http", "https") and one.port is None and other.port is None:
        return True
    return one.scheme == other.scheme and _port(one.scheme, one.port) == _port(other.scheme, other.port)


def _port(scheme: str, port: int | None) -> int | None:
    return port if port is not None else _DEFAULT_PORTS.get(scheme)
