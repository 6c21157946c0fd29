"""Takes the values of secrets out of what is written down: errors, logs, results, progress."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import logging
import re
from collections.abc import Callable, Generator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote, quote_plus

from holdfast.spec.cel_values import is_list, is_map

HIDDEN: Final = "***"
"""What stands in the place of a secret."""

RESULT_CHARS: Final = 6
"""Shorter secrets stay in results: they could be any word."""

_CUT_CHARS: Final = 12
"""Of secrets from this length on, pieces are hidden too: what quotes a request often cuts it."""

_PIECE_CHARS: Final = 8
"""The shortest piece that is hidden. Only in errors and logs: in results it may be a word like any other."""

_LONG_CHARS: Final = 200_000
"""Pieces are not looked for in longer texts."""

_CAUSES: Final = 20

_BACKSLASH: Final = "\\"

_ExcInfo: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Redactor:
    """Knows the secrets of one attempt, and hides them in the forms in which they are quoted: as they are, escaped for
    JSON, Python, URLs and HTML, each character in its own way if need be, in hexadecimal, and inside of Base64."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._long_forms: set[str] = set()
        self._pieces: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._long_pattern: re.Pattern[str] | None = None

    @property
    def knows_any(self) -> bool:
        """Whether there is a secret to hide."""
        return bool(self._forms)

    def add(self, value: str) -> None:
        """From now on hide this value too."""
        if not value:
            return
        forms, escaped = set(_forms(value)), _escaped(value)
        self._forms |= {escaped, *map(re.escape, forms)}
        self._pattern = _any_of(self._forms)
        if len(value) >= _CUT_CHARS:
            self._pieces.update(
                form[at : at + _PIECE_CHARS] for form in forms for at in range(len(form) - _PIECE_CHARS + 1)
            )
        if len(value) >= RESULT_CHARS:
            self._long_forms |= {escaped, *map(re.escape, forms)}
            self._long_pattern = _any_of(self._long_forms)

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._pattern is None:
            return text
        text = self._pattern.sub(HIDDEN, text)
        return _without_pieces(text, self._pieces) if len(text) <= _LONG_CHARS else text

    def value(self, value: Any) -> Any:
        """A plain JSON value without secrets of 6 characters and more, in its keys too."""
        if isinstance(value, str):
            return value if self._long_pattern is None else self._long_pattern.sub(HIDDEN, value)
        if is_list(value):
            return [self.value(item) for item in value]
        if is_map(value):
            return {self.value(key): self.value(item) for key, item in value.items()}
        return value

    def exception(self, exc: BaseException) -> Exception:
        """A stand-in of the same name and traceback whose text, and that of its causes, holds no secret."""
        return self._copy(exc, _CAUSES)

    def _copy(self, exc: BaseException, left: int) -> Exception:
        kind = type(type(exc).__name__, (Exception,), {"__module__": type(exc).__module__})
        made: Exception = kind(self.text(text_of(exc))).with_traceback(exc.__traceback__)
        cause = exc.__cause__
        made.__cause__ = self._copy(cause, left - 1) if cause is not None and left else None
        return made


def text_of(exc: BaseException) -> str:
    """What an exception says, also when it cannot say it."""
    try:
        return str(getattr(exc, "message", None) or exc)
    except Exception as broken:  # noqa: BLE001 - `__str__` is the code of users and of libraries
        return f"{type(exc).__name__}, whose text cannot be read ({type(broken).__name__})"


def _forms(value: str) -> Generator[str]:
    yield from (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (repr(value)[1:-1], html.escape(value), quote(value), quote(value, safe=""), quote_plus(value))
    raw = value.encode("utf-8", "surrogatepass")
    yield repr(raw)[2:-1]
    if len(value) < RESULT_CHARS:
        return
    yield raw.hex()
    for before in range(3):
        # Only the characters that come from the secret alone, wherever in the encoded text it begins.
        whole = base64.b64encode(b"\0" * before + raw).decode("ascii")
        inner = whole[(0, 2, 3)[before] : len(whole) - (0, 3, 2)[(before + len(raw)) % 3]]
        yield from (inner, inner.translate(str.maketrans("+/", "-_")))
    if "\n" in value:
        yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= _PIECE_CHARS)


def _escaped(value: str) -> str:
    """A pattern of the value in which each character stands as it is or escaped, several times over perhaps: a client
    of HTTP, for one, escapes what it must in a path and leaves the rest."""
    return "".join(char if char.isascii() and char.isalnum() else _ways(char) for char in value)


def _ways(char: str) -> str:
    percent = "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
    ways = {percent, html.escape(char), f"&#{ord(char)};", "+" if char == " " else char}
    backslashed = {json.dumps(char)[1:-1], repr(char)[1:-1]} - {char}
    patterns = [
        *(rf"\\{{1,8}}{re.escape(way.lstrip(_BACKSLASH))}" for way in sorted(backslashed)),
        *(
            rf"\\{{0,8}}{re.escape(way)}"
            for way in sorted({*ways, char} - {_BACKSLASH}, key=len, reverse=True)
        ),
    ]
    return f"(?:{'|'.join(patterns)})"


def _any_of(patterns: set[str]) -> re.Pattern[str]:
    longest_first = sorted(patterns, key=lambda pattern: (-len(pattern), pattern))
    return re.compile("|".join(longest_first), re.IGNORECASE)


def _without_pieces(text: str, pieces: set[str]) -> str:
    """The text without what is left of a secret where somebody cut it."""
    kept: list[str] = []
    end = 0
    for at in range(len(text) - _PIECE_CHARS + 1):
        if text[at : at + _PIECE_CHARS] in pieces:
            if at > end or not kept:
                kept += (text[end:at], HIDDEN)
            end = at + _PIECE_CHARS
    return "".join((*kept, text[end:]))


_current: ContextVar[Redactor | None] = ContextVar("holdfast_redactor", default=None)


def current_redactor() -> Redactor | None:
    """Of the attempt that runs here, if it may know secrets."""
    return _current.get()


@contextlib.contextmanager
def redacting_logs(redactor: Redactor) -> Generator[None]:
    """Hide the secrets in whatever is logged from here, by the libraries that are called too."""
    made_by = logging.getLogRecordFactory()
    if not isinstance(made_by, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(made_by))
    token = _current.set(redactor)
    try:
        yield
    finally:
        _current.reset(token)


class _RedactingFactory:
    """Makes log records, without the secrets of the attempt that logs."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record, redactor = self._make(*args, **kwargs), _current.get()
        if redactor is None or not redactor.knows_any:
            return record
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - the arguments are anybody's; logging itself reports that they do not fit
            text = f"{record.msg} {record.args!r}"
        record.msg, record.args = redactor.text(text), None
        error = cast("_ExcInfo | None", record.exc_info)
        if error is not None and error[1] is not None:
            copy = redactor.exception(error[1])
            record.exc_info = (type(copy), copy, copy.__traceback__)
        return record
