"""Streams: the answer put together from its pieces, and who else gets the pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from holdfast_executors.llm_models import LlmToolCall, Reply
from holdfast_executors.llm_reply import chat_usage


class TokenPiece(BaseModel, frozen=True):
    """A piece of an answer that is being written."""

    run_id: str
    """The run; empty outside of one."""

    node: str
    """The node or call."""

    attempt: int
    """The attempt: one that begins again says everything again."""

    index: int
    """The number of the piece in its attempt, from 0."""

    text: str
    """What was written since the last piece."""


TokenSink = Callable[[TokenPiece], None]
"""Takes pieces: at once, without waiting for anything."""

Publish = Callable[[str], None]


def token_sink() -> TokenSink:
    """Who gets the pieces of streamed answers: nobody. `Worker(overrides={token_sink: show})` names somebody. What it
    raises is logged and changes nothing."""
    return _nobody


def _nobody(piece: TokenPiece) -> None:
    del piece


class ChatPieces:
    """Puts an answer of the chat API together."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._reason: str | None = None
        self._usage: Any = None
        self._id = ""

    def add(self, chunk: Any) -> str:
        """Take a chunk; its text."""
        self._id = self._id or getattr(chunk, "id", None) or ""
        self._usage = getattr(chunk, "usage", None) or self._usage
        said = ""
        choices: list[Any] = getattr(chunk, "choices", None) or []
        for choice in choices:
            delta: Any = getattr(choice, "delta", None)
            said += getattr(delta, "content", None) or ""
            self._refusals.append(getattr(delta, "refusal", None) or "")
            calls: list[Any] = getattr(delta, "tool_calls", None) or []
            for call in calls:
                made = self._calls.setdefault(call.index or 0, {"id": "", "name": "", "arguments": ""})
                made["id"] = made["id"] or call.id or ""
                made["name"] += getattr(call.function, "name", None) or ""
                made["arguments"] += getattr(call.function, "arguments", None) or ""
            self._reason = getattr(choice, "finish_reason", None) or self._reason
        self._texts.append(said)
        return said

    def reply(self) -> Reply | None:
        """The answer; None while it has no end."""
        if self._reason is None:
            return None
        usage = self._usage.model_dump() if isinstance(self._usage, BaseModel) else None
        return Reply(
            text="".join(self._texts),
            refusal="".join(self._refusals) or None,
            finish_reason=self._reason,
            tool_calls=[
                LlmToolCall.model_validate({**call, "id": call["id"] or f"call_{index}"})
                for index, call in sorted(self._calls.items())
            ],
            usage=chat_usage(usage),
            response_id=self._id,
        )


def response_piece(event: Any, last: dict[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    """The text in an event of the Responses API, and the whole response once it has an end."""
    kind = getattr(event, "type", "")
    if kind in ("response.completed", "response.incomplete", "response.failed"):
        return "", event.response.model_dump(mode="json", warnings=False)
    text = getattr(event, "delta", "") if kind == "response.output_text.delta" else ""
    return text if isinstance(text, str) else "", last
