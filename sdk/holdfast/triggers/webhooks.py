"""The signatures of webhooks, as Standard Webhooks has them. Pure.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from holdfast.errors import InvalidConfiguration, NotAllowed

MAX_BODY_BYTES: Final = 1024 * 1024
"""The largest message."""

_ID: Final = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,11}", re.ASCII)
_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = (24, 64)
"""What Standard Webhooks asks of a key: a shorter one can be guessed."""

_MAX_SIGNATURES: Final = 20


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message whose signature is right."""

    id: str
    """What tells it from all others of its sender: the same when it is sent again."""

    at: datetime
    """When it was sent, as its sender says."""


def verify(
    headers: Mapping[str, str], body: bytes, secret: str, now: datetime, tolerance: timedelta
) -> Delivery:
    """Check who sent a message, and that it is not an old one.

    Args:
        headers: `webhook-id`, `webhook-timestamp` and `webhook-signature` among them, in any case.
        body: The message as it came, byte by byte.
        secret: `whsec_` and the key in Base64, or the key in Base64.
        now: The time here, with a time zone.
        tolerance: How far the time of sending may be from it.

    Raises:
        NotAllowed: A header is missing or wrong, no signature fits, or it was sent too long ago. Which of the last two
            it is, is told only to who signs rightly.
        InvalidConfiguration: The secret is no key.
    """
    key = _key(secret)
    given = {name.lower(): value for name, value in headers.items()}
    message_id, seconds = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not _ID.fullmatch(message_id):
        raise NotAllowed("the header webhook-id is missing, or is not 1 to 256 visible characters")
    if not _SECONDS.fullmatch(seconds):
        raise NotAllowed("the header webhook-timestamp is missing, or is not seconds since 1970")
    signed = b"%b.%b.%b" % (message_id.encode(), seconds.encode(), body)
    expected = hmac.new(key, signed, hashlib.sha256).digest()
    fits = False
    for one in given.get("webhook-signature", "").split(" ")[:_MAX_SIGNATURES]:
        version, _, signature = one.partition(",")
        # All are compared, so that the time taken tells nothing.
        fits |= version == "v1" and hmac.compare_digest(_decoded(signature), expected)
    if not fits:
        raise NotAllowed("no signature in the header webhook-signature fits this message and this secret")
    try:
        at = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise NotAllowed(f"webhook-timestamp={seconds} is no time") from None
    if abs(now - at) > tolerance:
        raise NotAllowed(
            f"the message was sent at {at.isoformat()}, more than {tolerance} from {now.isoformat()} here"
        )
    return Delivery(id=message_id, at=at)


def sign(message_id: str, at: datetime, body: bytes, secret: str) -> dict[str, str]:
    """The headers of a message that `verify` accepts; for tests and senders."""
    seconds = str(int(at.timestamp()))
    signed = b"%b.%b.%b" % (message_id.encode(), seconds.encode(), body)
    signature = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": message_id, "webhook-timestamp": seconds, "webhook-signature": f"v1,{signature}"}


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _KEY_BYTES[0] <= len(key) <= _KEY_BYTES[1]:
        raise InvalidConfiguration(
            "the secret of a webhook is 'whsec_' and a key of 24 to 64 bytes in Base64; this one is not"
        )
    return key


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
