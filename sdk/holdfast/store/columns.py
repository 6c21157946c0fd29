"""Column types that both databases keep alike, and bounds on what is kept."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

ID_BYTES: Final = 1000
"""The longest id that is kept whole; Temporal allows as many characters."""

MAX_ID: Final = 2**63 - 1
"""The highest number that a database has; asked for a higher one it fails."""

NAME_BYTES: Final = 400
"""The longest name that is kept whole. Six of them fit into a key of PostgreSQL's B-tree."""

MESSAGE_BYTES: Final = 2000
RUN_PREVIEW_BYTES: Final = 2000
STEP_PREVIEW_BYTES: Final = 500

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ESCAPE: Final = "\U0010ffff"
"""Stands before the code of a character that a database refuses. It is no character of any text."""

_REFUSED: Final = re.compile(f"[\x00\ud800-\udfff{_ESCAPE}]")
_ESCAPED: Final = re.compile(f"{_ESCAPE}([0-9a-f]{{6}})")


def escaped(text: str) -> str:
    """The text without NUL and lone surrogates, which PostgreSQL refuses; `unescaped` brings them back."""
    if _REFUSED.search(text) is None:
        return text
    return _REFUSED.sub(lambda found: f"{_ESCAPE}{ord(found[0]):06x}", text)


def unescaped(text: str) -> str:
    """The text as it was before `escaped`."""
    if _ESCAPE not in text:
        return text
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def instant(value: int) -> datetime:
    """The moment that is `value` microseconds after 1970, UTC."""
    return _EPOCH + timedelta(microseconds=value)


def cut(text: str, limit_bytes: int) -> str:
    """The text, cut at a character so that it takes at most so many bytes, with `…` where it was cut."""
    if len(text) * 4 <= limit_bytes:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= limit_bytes:
        return text
    end = limit_bytes - 3
    while end > 0 and raw[end] & 0xC0 == 0x80:
        end -= 1
    return raw[:end].decode("utf-8", "surrogatepass") + "…"


def bounded(name: str, limit_bytes: int = NAME_BYTES) -> str:
    """The name, or if it is too long for an index its beginning and a hash: different names stay different."""
    if len(name) * 4 <= limit_bytes:
        return name
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) <= limit_bytes:
        return name
    return f"{cut(name, limit_bytes - 16)}{hashlib.sha256(raw).hexdigest()[:16]}"


class String(TypeDecorator[str]):
    """Any text of Python, NUL and lone surrogates included."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """As the database keeps it."""
        return None if value is None else escaped(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """As it was."""
        return None if value is None else unescaped(value)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """As the database keeps it."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """As it was."""
        return None if value is None else instant(value)


class Json(TypeDecorator[Any]):
    """A JSON value as ASCII text, so that no character in it is refused."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """As the database keeps it."""
        return None if value is None else _ENCODER.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """As it was."""
        return None if value is None else json.loads(value)
