"""What a call that did not succeed raises: whether it is tried again, and when."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from holdfast import InvalidInput, Permanent, RetryAfter, Unavailable

MAX_RETRY_AFTER: Final = timedelta(hours=1)
"""No `Retry-After` delays longer."""

_SECONDS: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_EXCERPT_CHARS: Final = 300
_UNREADABLE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def is_transient(status: int) -> bool:
    """Whether a status may change by itself."""
    return status in (408, 425, 429) or 500 <= status <= 599


def failure_of(what: str, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    """What an answer that is no success raises.

    Args:
        what: Whose answer it is, for the message: `GET https://...`.
        status: Its status.
        headers: Its headers.
        body: How its body begins.
    """
    said = excerpt(body)
    message = f"{what} answered {status}" + (f": {said}" if said else "")
    if is_transient(status):
        delay = retry_after(headers.get("retry-after"))
        return RetryAfter(delay, message) if delay is not None else Unavailable(message)
    if status >= 400:
        return Permanent(message)
    # It may have had its effect, so it is not said to have done nothing.
    return InvalidInput(f"{message}; if that is a success, list it in success_status")


def retry_after(value: str | None, now: datetime | None = None) -> timedelta | None:
    """The delay that a `Retry-After` asks for, at most an hour; None without one that says anything.

    Args:
        value: Seconds, or a date as HTTP writes it.
        now: The time, if not the clock's.
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        seconds = float(value)
    else:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    if seconds <= 0:
        return None
    return timedelta(seconds=min(seconds, MAX_RETRY_AFTER.total_seconds()))


def excerpt(body: bytes) -> str:
    """The beginning of a body, in one line."""
    return _UNREADABLE.sub(" ", body[: 4 * _EXCERPT_CHARS].decode("utf-8", "replace")).strip()[
        :_EXCERPT_CHARS
    ]


def connection_failure(what: str, error: Exception) -> Exception:
    """What an error of the connection raises. Certificates do not get better by trying again.

    Args:
        what: Which call it was.
        error: From the library.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Permanent(f"{what}: the certificate is not trusted: {cause.verify_message}")
        cause = cause.__cause__ or cause.__context__
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Unavailable(f"{what}: {said}")
