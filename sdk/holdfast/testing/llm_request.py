"""What a `FakeLLM` was asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast.spec.cel_values import is_list, is_map


@dataclass(kw_only=True)
class LLMRequest:
    """One request that asked a model, in the order in which they came."""

    api: Literal["chat", "responses"]
    """Which of the two APIs."""

    body: Mapping[str, Any]
    """The request as it was sent."""

    headers: Mapping[str, str]
    """By name in lower case."""

    received_at: float = field(default_factory=time.monotonic)
    """When it came, by the system's monotonic clock."""

    answered_at: float | None = None
    """When the last byte of a good answer had been sent, by the same clock. None: not yet, or never."""

    status: int = 0
    """The HTTP status of the answer; 0 before there is one."""

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether the answer was to come as a stream."""
        return self.body.get("stream") is True

    @property
    def background(self) -> bool:
        """Whether the answer was to be fetched later."""
        return self.body.get("background") is True

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """The messages, or the input of the Responses API in the same form."""
        if self.api == "chat":
            return list(self.body.get("messages", []))
        given = self.body.get("input", [])
        messages: list[Mapping[str, Any]] = (
            [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        )
        instructions = self.body.get("instructions")
        return [{"role": "system", "content": instructions}, *messages] if instructions else messages

    @property
    def prompt(self) -> str:
        """The text of the last message of a user."""
        texts = [
            text_in(message.get("content")) for message in self.messages if message.get("role") == "user"
        ]
        return texts[-1] if texts else ""

    @property
    def text(self) -> str:
        """The text of all messages."""
        return "\n".join(text_in(message.get("content")) for message in self.messages)

    @property
    def format(self) -> Mapping[str, Any]:
        """What the API calls the response format: `{"type": "json_schema", ...}`; empty for text."""
        holder: Mapping[str, Any] = self.body.get("text") or {}
        given: Mapping[str, Any] | None = (
            self.body.get("response_format") if self.api == "chat" else holder.get("format")
        )
        return given if given and given.get("type") != "text" else {}

    @property
    def schema_format(self) -> Mapping[str, Any]:
        """Name, schema and `strict` of a format that is a JSON Schema; else empty."""
        if self.format.get("type") != "json_schema":
            return {}
        found: Mapping[str, Any] = self.format.get("json_schema", {}) if self.api == "chat" else self.format
        return found

    @property
    def tools(self) -> list[Mapping[str, Any]]:
        """The functions that the model may ask for, each with `name` and `parameters`."""
        given: list[Mapping[str, Any]] = self.body.get("tools") or []
        found = [tool for tool in given if tool.get("type") == "function"]
        return [tool.get("function", {}) for tool in found] if self.api == "chat" else found

    @property
    def forced_tool(self) -> Mapping[str, Any] | None:
        """The function that the model must ask for."""
        choice: object = self.body.get("tool_choice")
        if choice == "required" and len(self.tools) == 1:
            return self.tools[0]
        if not is_map(choice):
            return None
        named: Any = (choice.get("function") or choice) if self.api == "chat" else choice
        return next((tool for tool in self.tools if tool.get("name") == named.get("name")), None)


def text_in(content: object) -> str:
    """The text of a message's content, which may consist of parts."""
    if isinstance(content, str):
        return content
    if is_list(content):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return ""
