"""What a `FakeLLM` answers: text, tool calls, refusals, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class LLMUsage:
    """The tokens of one answer."""

    input_tokens: int = 0
    """Of the request, cached ones included."""

    output_tokens: int = 0
    """Of the answer, reasoning included."""

    cached_tokens: int = 0
    """How many of the request's tokens came from a cache."""

    reasoning_tokens: int = 0
    """How many of the answer's tokens nobody sees."""


@dataclass(frozen=True, kw_only=True)
class LLMToolCall:
    """The model asks for a tool."""

    name: str
    """The tool's."""

    arguments: Mapping[str, Any] | str
    """By name; a text is sent as it is, so that it may be no JSON at all."""

    @property
    def json(self) -> str:
        """The arguments as they are sent."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True)
class LLMAnswer:
    """A whole answer. A text alone, or a value that is sent as JSON, needs no `LLMAnswer`."""

    text: str = ""
    """What the model says."""

    tool_calls: Sequence[LLMToolCall] = field(default=(), kw_only=True)
    """The tools that it asks for."""

    refusal: str | None = field(default=None, kw_only=True)
    """What it says when it refuses. The text is not sent then."""

    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"] | None = field(
        default=None, kw_only=True
    )
    """Why it ended. Default: `stop`, or `tool_calls` when it asks for tools."""

    usage: LLMUsage | Literal["counted"] | None = field(default="counted", kw_only=True)
    """Default: about one token for four characters. None: the endpoint does not tell."""

    latency: timedelta | None = field(default=None, kw_only=True)
    """Before the first byte. Default: that of the `FakeLLM`."""

    headers: Mapping[str, str] = field(default_factory=lambda: _NONE, kw_only=True)
    """More headers."""

    @property
    def reason(self) -> str:
        """Why it ended, the default applied."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


@dataclass(frozen=True, kw_only=True)
class LLMFault:
    """Something that goes wrong. The methods below make the usual ones."""

    status: int = 200
    """The HTTP status."""

    body: bytes = b""
    """What is sent in place of an answer."""

    headers: Mapping[str, str] = field(default_factory=lambda: _NONE)
    """More headers; a `content-type` replaces the one of JSON."""

    breaks: Literal["truncated", "cut", "reset", "hang"] | None = None
    """What happens to a good answer: `truncated` ends its JSON early, `cut` ends its stream without the last events,
    `reset` drops the connection in the middle, `hang` never answers."""

    @staticmethod
    def error(
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] = _NONE,
    ) -> LLMFault:
        """An error in the format of the API."""
        error = {"message": message, "type": kind, "param": param, "code": code}
        return LLMFault(status=status, body=json.dumps({"error": error}).encode(), headers=headers)

    @staticmethod
    def rate_limited(retry_after: str | None = None, *, retry_after_ms: str | None = None) -> LLMFault:
        """429, with `Retry-After` as it is given: seconds, an HTTP date, or nonsense."""
        given = {"retry-after": retry_after, "retry-after-ms": retry_after_ms}
        return LLMFault.error(
            429,
            "Rate limit reached for requests per minute.",
            kind="requests",
            code="rate_limit_exceeded",
            headers={name: value for name, value in given.items() if value is not None},
        )

    @staticmethod
    def quota_exhausted() -> LLMFault:
        """429 that waiting does not help."""
        message = "You exceeded your current quota, please check your plan and billing details."
        return LLMFault.error(429, message, kind="insufficient_quota", code="insufficient_quota")

    @staticmethod
    def server_error(status: int = 500) -> LLMFault:
        """An error of the server."""
        return LLMFault.error(
            status, "The server had an error while processing your request.", kind="server_error"
        )

    @staticmethod
    def context_length() -> LLMFault:
        """The request is longer than the model takes."""
        message = (
            "This model's maximum context length is 8192 tokens. Please reduce the length of the messages."
        )
        return LLMFault.error(400, message, code="context_length_exceeded", param="messages")

    @staticmethod
    def content_filter() -> LLMFault:
        """The request itself is filtered. For a filtered answer: `LLMAnswer(finish_reason="content_filter")`."""
        message = "The response was filtered due to the prompt triggering the content management policy."
        return LLMFault.error(400, message, code="content_filter", param="prompt")

    @staticmethod
    def unauthorised() -> LLMFault:
        """The API key is wrong."""
        return LLMFault.error(401, "Incorrect API key provided.", code="invalid_api_key")

    @staticmethod
    def forbidden() -> LLMFault:
        """The API key may not do this."""
        return LLMFault.error(403, "You are not allowed to use this model.", code="model_not_allowed")

    @staticmethod
    def no_such_model() -> LLMFault:
        """There is no such model."""
        return LLMFault.error(404, "The model does not exist.", code="model_not_found", param="model")

    @staticmethod
    def empty() -> LLMFault:
        """A good status and no body."""
        return LLMFault()

    @staticmethod
    def html() -> LLMFault:
        """A good status and the page of some proxy."""
        return LLMFault(
            body=b"<!doctype html><title>Sign in</title>",
            headers={"content-type": "text/html; charset=utf-8"},
        )

    @staticmethod
    def wrong_shape() -> LLMFault:
        """JSON that is no answer."""
        return LLMFault(body=b'{"object": "list", "choices": {}, "output": "nothing"}')

    @staticmethod
    def truncated() -> LLMFault:
        """The answer's JSON ends in the middle, the connection does not."""
        return LLMFault(breaks="truncated")

    @staticmethod
    def cut() -> LLMFault:
        """A stream that ends in good order but without its last events. Other answers are truncated."""
        return LLMFault(breaks="cut")

    @staticmethod
    def reset() -> LLMFault:
        """The connection ends in the middle of the answer."""
        return LLMFault(breaks="reset")

    @staticmethod
    def hang() -> LLMFault:
        """No answer until the caller gives up."""
        return LLMFault(breaks="hang")


Outcome: TypeAlias = str | Mapping[str, Any] | list[Any] | LLMAnswer | LLMFault
"""What a request may get: text, a value that is sent as JSON, a whole answer, or a fault."""
