"""What an http call sends: its body, its query, and what may not be sent."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_json

from holdfast.misfit import misfits
from holdfast.spec.plain import json_shown

if TYPE_CHECKING:
    import httpx

    from holdfast_executors.http_request import HttpConfig

BodyType: TypeAlias = Literal["json", "form", "multipart", "text", "binary"]
Scalar: TypeAlias = str | int | float | bool | None
Fields: TypeAlias = dict[str, Scalar | list[Scalar]]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_NOT_IN_HEADERS: Final = re.compile(r"[^\t\x20-\x7e]")
_SHOWN_CHARACTERS: Final = 80
_OURS: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


class HttpPart(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """One part of a multipart body."""

    name: str
    """The field's name."""
    text: str = ""
    """What it holds, as text."""
    binary: str | None = None
    """What it holds, as Base64; instead of `text`."""
    filename: str | None = None
    """The file's name, if it is a file."""
    content_type: str | None = Field(default=None, pattern=r"^[\x20-\x7e]+$")
    """Its type. Default: none for a field, guessed from the name for a file."""


_PARTS: Final = TypeAdapter(list[HttpPart])
_FIELDS: Final = TypeAdapter(Fields)


def url_problem(url: str) -> str | None:
    """Why a URL is not called; None for one that may be."""
    if any(character <= " " or character == "\x7f" for character in url):
        return "it has a space or a control character; write %20"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return f"its scheme is {parts.scheme!r}, and only http and https are called"
    if not parts.hostname:
        return "it names no host"
    if "@" in parts.netloc:
        return "it holds credentials, which would be recorded: name a secret in `auth` instead"
    return None


def shown_url(url: str) -> str:
    """A URL for messages: cut, and `***` in the place of credentials."""
    scheme, mark, rest = url.partition("//")
    end = min((at for sign in "/?#" if (at := rest.find(sign)) >= 0), default=len(rest))
    user, at_sign, place = rest[:end].rpartition("@")
    del user
    return f"{scheme}{mark}{'***@' if at_sign else ''}{place}{rest[end:]}"[:500]


def header_problem(name: str, value: str) -> str | None:
    """Why a header is not sent; None for one that may be."""
    if not _TOKEN.fullmatch(name):
        return f"headers: {name!r} is no name of a header"
    if name.lower() in _OURS:
        return f"headers: {name!r} follows from URL and body, and is not set by hand"
    bad = _NOT_IN_HEADERS.search(value)
    if bad is not None:
        return (
            f"headers: {name!r} has the character {bad.group()!r} at position {bad.start()}; a header has printable "
            "ASCII characters, and no line breaks"
        )
    return None


def body_problem(config: HttpConfig) -> str | None:
    """Why a body cannot be sent; None for one that can."""
    if config.body is None:
        return None
    if config.method in ("GET", "HEAD"):
        return f"body: {config.method} has none"
    try:
        _encoded(config.body_type, config.body)
    except ValidationError as error:
        adapter = _FIELDS if config.body_type == "form" else _PARTS
        [said, *_] = misfits(error, redact=_short, schema=adapter.json_schema(), value=config.body)
        said = said.removeprefix("the value itself: ")
        return f"body: is not what body_type={config.body_type!r} takes: {said}"
    except (TypeError, binascii.Error) as error:
        return f"body: is not what body_type={config.body_type!r} takes: {error}"
    return None


def _short(text: str) -> str:
    """A value as messages quote it: whole, since half a secret would not be found in it, or not at all."""
    return text if len(text) <= _SHOWN_CHARACTERS else "a longer value"


def arguments(config: HttpConfig) -> dict[str, Any]:
    """What httpx needs to know of a config's body."""
    return {} if config.body is None else _encoded(config.body_type, config.body)


def with_query(url: httpx.URL, query: Mapping[str, Scalar | list[Scalar]]) -> httpx.URL:
    """A URL with more parameters after those it has."""
    more = urlencode(_pairs(query))
    if not more:
        return url
    had = url.query.decode("ascii")
    return url.copy_with(query=f"{had}&{more}".lstrip("&").encode("ascii"))


def _encoded(kind: BodyType, body: JsonValue) -> dict[str, Any]:
    match kind:
        case "json":
            return {"content": to_json(body), "headers": {"Content-Type": "application/json"}}
        case "form":
            return {
                "content": urlencode(_pairs(_FIELDS.validate_python(body))).encode("ascii"),
                "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            }
        case "multipart":
            return {"files": [_part(part) for part in _PARTS.validate_python(body)]}
        case "text":
            return {"content": _text(body).encode(), "headers": {"Content-Type": "text/plain; charset=utf-8"}}
        case "binary":
            return {
                "content": base64.b64decode(_text(body), validate=True),
                "headers": {"Content-Type": "application/octet-stream"},
            }


def _text(body: JsonValue) -> str:
    if isinstance(body, str):
        return body
    raise TypeError(f"expected text, got {json_shown(body)}")


def _part(part: HttpPart) -> tuple[str, tuple[Any, ...]]:
    content = part.text.encode() if part.binary is None else base64.b64decode(part.binary, validate=True)
    return part.name, (part.filename, content, *([part.content_type] if part.content_type else []))


def _pairs(fields: Mapping[str, Scalar | list[Scalar]]) -> list[tuple[str, str]]:
    """Names and values as forms and queries write them; what is null is left out."""
    return [
        (name, _written(item))
        for name, value in fields.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]


def _written(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
