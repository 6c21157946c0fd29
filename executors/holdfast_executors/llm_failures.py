"""Which failures of an endpoint pass, and which do not."""

from __future__ import annotations

from typing import Final

import openai

from holdfast import Permanent, RetryAfter, Unavailable
from holdfast.spec.cel_values import is_map
from holdfast_executors.llm_reply import QUOTED_CHARS
from holdfast_executors.llm_retry_after import retry_after

_NEVER: Final = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"}
)
"""Codes and types of errors that waiting does not help, though their status says otherwise."""

_REQUEST: Final = frozenset(
    {
        "context_length_exceeded",
        "content_filter",
        "content_policy_violation",
        "invalid_api_key",
        "model_not_found",
        "string_above_max_length",
        "unknown_url",
    }
)
"""Codes of errors that no other way to ask for typed output would change."""

_AGAIN: Final = frozenset({408, 409, 425, 429})


class NoModel(Permanent):
    """There is no such model, or this key may not use it."""


class FormatRefused(Permanent):
    """The request was refused, perhaps for the way in which it asks for typed output.

    Attributes:
        of_schema: Whether the endpoint has that way, and does not take this schema.
    """

    def __init__(self, message: str, *, of_schema: bool) -> None:
        super().__init__(message)
        self.of_schema = of_schema


def failure(error: openai.APIError, where: str) -> Exception:
    """What to raise for an error of the client.

    Args:
        error: What the client raised.
        where: The endpoint, for messages.
    """
    said = _said(error)[:QUOTED_CHARS]
    if isinstance(error, openai.APITimeoutError):
        return Unavailable(f"{where} did not answer in time")
    if isinstance(error, openai.APIConnectionError):
        cause = f": {error.__cause__}" if error.__cause__ else ""
        return Unavailable(f"{where} cannot be reached, or broke off ({said}{cause})")
    if not isinstance(error, openai.APIStatusError):
        if {error.code, error.type} & _NEVER:
            return Permanent(f"{where}: {said}")
        return Unavailable(f"{where} failed while it answered: {said}")
    status, marks = error.status_code, {error.code, error.type}
    message = f"{where} answered {status}: {said}"
    if marks & _NEVER:
        return Permanent(message)
    if status in _AGAIN or (status >= 500 and status != 501):
        delay = retry_after(error.response.headers)
        return RetryAfter(delay, message) if delay is not None else Unavailable(message)
    if status == 404 and error.code != "unknown_url":
        return NoModel(message)
    if status in (400, 415, 422, 501) and not marks & _REQUEST:
        of_schema = error.code == "invalid_json_schema" or "invalid schema" in said.lower()
        return FormatRefused(message, of_schema=of_schema)
    return Permanent(message)


def _said(error: openai.APIError) -> str:
    """What the endpoint said, without what the client puts around it."""
    told: object = error.body.get("message") if is_map(error.body) else None
    return told if isinstance(told, str) and told else error.message or type(error).__name__
