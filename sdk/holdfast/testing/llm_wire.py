"""What the two wire formats share: tokens, pieces of text, and server-sent events."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from holdfast.testing.llm_answers import LLMAnswer, LLMUsage
from holdfast.testing.llm_request import LLMRequest

_PIECES: Final = 100
"""A stream has at most about so many."""

DONE: Final = b"data: [DONE]\n\n"
"""How a stream of the chat API ends."""


def to_bytes(value: object) -> bytes:
    """JSON as APIs send it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def event(data: Mapping[str, Any], *, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + to_bytes(data) + b"\n\n"


def pieces(text: str) -> list[str]:
    """The text in the parts in which it is streamed."""
    words: list[str] = re.findall(r"\s*\S+\s*$|\s*\S+", text) or ([text] if text else [])
    size = -(-len(words) // _PIECES)
    return ["".join(words[at : at + size]) for at in range(0, len(words), size or 1)]


def usage_of(answer: LLMAnswer, request: LLMRequest) -> LLMUsage | None:
    """The tokens that the endpoint tells of."""
    if answer.usage != "counted":
        return answer.usage
    said = (answer.refusal or answer.text) + "".join(call.name + call.json for call in answer.tool_calls)
    return LLMUsage(input_tokens=_tokens(request.text), output_tokens=_tokens(said))


def _tokens(text: str) -> int:
    return -(-len(text) // 4)
