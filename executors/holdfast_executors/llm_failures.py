"""Which failures of an endpoint pass, and which do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import openai

from holdfast import Permanent, RetryAfter, Unavailable
from holdfast_executors.llm_complaint import Complaint, Topic, complaint
from holdfast_executors.llm_retry_after import retry_after

_AGAIN: Final = frozenset({408, 409, 425, 429})

_REQUEST_REFUSED: Final = frozenset({400, 415, 422, 501})

_OF_SCHEMA: Final = ("invalid_json_schema", "invalid_function_parameters")

_HINTS: Final[Mapping[Topic, str]] = {
    "quota": "waiting does not help: see the account's plan and billing",
    "model": "see `model`; the endpoint lists what it has under /models",
    "context": "shorten the prompt or the messages, or name a model that takes more",
    "filter": "the endpoint's filter refuses the prompt itself: ask in other words",
    "image": "see `images`, and whether this model takes any",
}

_STATUS_HINTS: Final[Mapping[int, str]] = {
    401: "see `api_key_secret` and the secret that it names",
    403: "see what the key in `api_key_secret` may do",
}


class NoModel(Permanent):
    """There is no such model."""


class FormatRefused(Permanent):
    """The request was refused for the way in which it asks for typed output, or for its tools.

    Attributes:
        about: What the endpoint does not take: the response format, or tools.
        of_schema: Whether the endpoint has that way, and does not take this schema.
    """

    def __init__(self, message: str, *, about: Literal["format", "tools"], of_schema: bool) -> None:
        super().__init__(message)
        self.about = about
        self.of_schema = of_schema


def failure(error: openai.APIError, where: str) -> Exception:
    """What to raise for an error of the client.

    Args:
        error: What the client raised.
        where: The endpoint, for messages.
    """
    if isinstance(error, openai.APITimeoutError):
        return Unavailable(f"{where} did not answer in time")
    if isinstance(error, openai.APIConnectionError):
        cause = f": {error.__cause__}" if error.__cause__ else ""
        return Unavailable(f"{where} cannot be reached, or broke off ({error.message}{cause})")
    if not isinstance(error, openai.APIStatusError):
        said = complaint(error.body, error.message)
        kind = Permanent if said.topic == "quota" else Unavailable
        return kind(f"{where} failed while it answered: {said.message}")
    status = error.status_code
    said = complaint(error.body, error.message, status)
    message = f"{where} answered {status}: {said.message}"
    if said.topic != "quota" and (status in _AGAIN or (status >= 500 and status != 501)):
        delay = retry_after(error.response.headers)
        return RetryAfter(delay, message) if delay is not None else Unavailable(message)
    if said.topic == "model" and status in (400, 404):
        return NoModel(f"{message} ({_HINTS['model']})")
    if status == 404:
        asked = f"{error.request.method} {error.request.url.path}"
        return Permanent(f"{message} ({asked} is not there: `base_url` is probably wrong; most end in /v1)")
    if status in _REQUEST_REFUSED and said.topic in ("format", "tools"):
        of_schema = said.code in _OF_SCHEMA or "invalid schema" in said.message.lower()
        return FormatRefused(message, about=said.topic, of_schema=of_schema)
    hint = _STATUS_HINTS.get(status) or _hint(said)
    return Permanent(f"{message} ({hint})" if hint else message)


def _hint(said: Complaint) -> str:
    if said.topic == "other" and said.param:
        return f"see {said.param!r} in the config, or under `params`"
    return _HINTS.get(said.topic, "")
