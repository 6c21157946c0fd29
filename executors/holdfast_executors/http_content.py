"""What an answer brings: its body, read within a limit, as JSON, text or bytes."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pydantic import JsonValue

from holdfast import InvalidInput, PayloadTooLarge
from holdfast.spec.strict_json import parse_json
from holdfast_executors.http_decode import Decoder
from holdfast_executors.http_failures import excerpt

if TYPE_CHECKING:
    import httpx

ResponseType: TypeAlias = Literal["auto", "json", "text", "bytes"]

_TEXTS: Final = frozenset(("application/xml", "application/javascript", "application/x-www-form-urlencoded"))
_NO_CHARSETS: Final = frozenset(("idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7"))
"""Codecs of Python that no page is written in, some of which take a long time for long texts."""

_ON_A_THREAD_BYTES: Final = 256 * 1024


def kind_of(wanted: ResponseType, content_type: str) -> ResponseType:
    """What a body is read as; `auto` where only the body itself can tell."""
    kind = content_type.partition(";")[0].strip().lower()
    if wanted != "auto" or not kind:
        return wanted
    if kind == "application/json" or kind.endswith("+json"):
        return "json"
    return "text" if kind.startswith("text/") or kind in _TEXTS or kind.endswith("+xml") else "bytes"


async def decoded(response: httpx.Response, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in small pieces, as it comes.

    Raises:
        PayloadTooLarge: It is longer than allowed; it is not read to its end.
        Unavailable: It is damaged.
        InvalidInput: It is packed in a way that was not asked for.
    """
    decoder = Decoder(response.headers.get("content-encoding", ""))
    length = response.headers.get("content-length", "")
    if (
        not decoder.packed
        and length.isdecimal()
        and int(length) > max_bytes
        and response.request.method != "HEAD"
    ):
        raise _too_large(max_bytes, f"announces {int(length)}")
    size_bytes = 0
    async for raw in response.aiter_raw():
        for piece in decoder.feed(raw):
            size_bytes += len(piece)
            if size_bytes > max_bytes:
                raise _too_large(max_bytes, "has more")
            yield piece
    decoder.finish()


def _too_large(max_bytes: int, how: str) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the answer's body {how} bytes, and max_bytes={max_bytes}: ask for less, or raise max_bytes"
    )


async def beginning(response: httpx.Response) -> bytes:
    """How a body begins, for an error message."""
    kept = b""
    async for piece in decoded(response, 1 << 62):
        kept += piece
        if len(kept) >= 2048:
            break
    return kept


async def read_value(body: bytes, kind: ResponseType, content_type: str, max_bytes: int) -> JsonValue:
    """A body as JSON or text.

    Raises:
        InvalidInput: It is not the JSON that was asked for or announced.
    """
    if kind == "json":
        return await _json(body, content_type, max_bytes) if body.strip() else None
    return _text(body, content_type)


async def _json(body: bytes, content_type: str, max_bytes: int) -> JsonValue:
    text = _text(body, content_type) if _charset(content_type) not in (None, "utf-8", "ascii") else body
    try:
        if len(body) > _ON_A_THREAD_BYTES:
            value: JsonValue = await asyncio.to_thread(parse_json, text, max_bytes=4 * max_bytes)
        else:
            value = parse_json(text, max_bytes=4 * max_bytes)
    except InvalidInput as error:
        raise InvalidInput(
            f"the answer is not JSON ({error.message}); it begins: {excerpt(body)!r}"
        ) from None
    return value


def _charset(content_type: str) -> str | None:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            try:
                found = codecs.lookup(value.strip().strip('"')).name
            except LookupError:
                return None
            return None if found in _NO_CHARSETS else found
    return None


def _text(body: bytes, content_type: str) -> str:
    charset = _charset(content_type) or "utf-8"
    try:
        return body.decode("utf-8-sig" if charset == "utf-8" else charset, "replace")
    except LookupError:  # a codec that is none for text
        return body.decode("utf-8-sig", "replace")
