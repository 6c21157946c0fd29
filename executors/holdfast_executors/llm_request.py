"""The body of a request, in the form of either API."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from holdfast.authoring.lent import problems_of_tools
from holdfast_executors.llm_models import OWN_PARAMS, Body, LlmConfig, LlmMessage, LlmPart, LlmTool

_IMAGE: Final = re.compile(r"https?://|data:image/[\w.+-]+;base64,")

_FORMATS: Final = frozenset({"response_format", "tool_choice"})
"""Fields that typed output sets itself."""


def problems_of(config: LlmConfig) -> list[str]:
    """What is wrong with a config beyond its schema."""
    problems: list[str] = []
    if "@" in config.base_url.partition("//")[2].partition("/")[0]:
        problems.append(
            "base_url: it holds credentials, which would be recorded: name a secret in api_key_secret instead"
        )
    problems += _silence(config)
    if config.images and config.prompt is None:
        problems.append("images: they go with a prompt, and there is none; put them into messages")
    images = [*config.images, *(part.image for part in _parts(config.messages) if part.image is not None)]
    problems.extend(
        f"images: {image[:60]!r} is neither an http(s) address nor data:image/...;base64,"
        for image in images
        if _IMAGE.match(image) is None
    )
    if any((part.text is None) == (part.image is None) for part in _parts(config.messages)):
        problems.append("messages: a part has either text or an image")
    if any((message.role == "tool") != (message.tool_call_id is not None) for message in config.messages):
        problems.append("messages: a tool's message, and no other, has a tool_call_id")
    if config.background and (config.api != "responses" or config.stream):
        problems.append('background: only with api: "responses", and without stream')
    own = OWN_PARAMS | _FORMATS if config.output is not None else OWN_PARAMS
    if taken := sorted(own & config.params.keys()):
        problems.append(f"params: {', '.join(taken)} cannot be set here")
    if config.params.get("n", 1) != 1:
        problems.append("params: n: one answer is asked for at a time")
    return problems + problems_of_tools([tool.model_dump(exclude_defaults=True) for tool in config.tools])


def _silence(config: LlmConfig) -> list[str]:
    """What is wrong with a config that says nothing to the model; an answer to nothing would be paid for too."""
    if any(_says_something(message) for message in config.messages) or config.images:
        return []
    if config.prompt is None:
        said = "messages: they are empty, or only whitespace" if config.messages else "prompt: there is none"
    elif not config.prompt.strip():
        said = "prompt: it is empty, or only whitespace"
    else:
        return []
    return [f"{said}: give a prompt, or messages"]


def _says_something(message: LlmMessage) -> bool:
    return bool(
        message.tool_calls or text_of([message]).strip() or any(part.image for part in _parts([message]))
    )


def conversation(config: LlmConfig) -> list[LlmMessage]:
    """All messages of a config, in order."""
    messages = list(config.messages)
    if config.system is not None:
        messages.insert(0, LlmMessage(role="system", content=config.system))
    if config.prompt is not None:
        parts = [LlmPart(text=config.prompt), *(LlmPart(image=image) for image in config.images)]
        messages.append(LlmMessage(role="user", content=parts if config.images else config.prompt))
    return messages


def body_of(config: LlmConfig, model: str, messages: Sequence[LlmMessage]) -> Body:
    """The body of a request for text, or for tools."""
    body: Body = {**config.params, "model": model}
    if config.api == "chat":
        body["messages"] = [_chat(message) for message in messages]
    else:
        body["input"] = [item for message in messages for item in _items(message)]
    if config.tools:
        body["tools"] = [_tool(config, tool) for tool in config.tools]
    if config.stream:
        body["stream"] = True
        if config.api == "chat":
            body.setdefault("stream_options", {"include_usage": True})
    if config.background:
        body["background"] = True
    return body


def text_of(messages: Sequence[LlmMessage]) -> str:
    """All text of a conversation."""
    texts = [message.content for message in messages if isinstance(message.content, str)]
    return "\n".join([*texts, *(part.text or "" for part in _parts(messages))])


def tokens_of(body: Body) -> int:
    """About how many tokens a request has: one for four characters."""
    return len(json.dumps(body.get("messages", body.get("input", "")))) // 4


def _parts(messages: Sequence[LlmMessage]) -> list[LlmPart]:
    return [part for message in messages if not isinstance(message.content, str) for part in message.content]


def _tool(config: LlmConfig, tool: LlmTool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters or {"type": "object", "properties": {}},
    }
    if config.api == "chat":
        return {"type": "function", "function": function}
    return {"type": "function", "strict": False, **function}


def _chat(message: LlmMessage) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role}
    if isinstance(message.content, str):
        made["content"] = message.content if message.content or not message.tool_calls else None
    else:
        made["content"] = [
            {"type": "text", "text": part.text}
            if part.image is None
            else {"type": "image_url", "image_url": {"url": part.image}}
            for part in message.content
        ]
    if message.tool_calls:
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    return made


def _items(message: LlmMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        output = text_of([message])
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": output}]
    items: list[dict[str, Any]] = []
    if message.content or not message.tool_calls:
        content: Any = message.content
        if not isinstance(message.content, str):
            kind = "output_text" if message.role == "assistant" else "input_text"
            content = [
                {"type": kind, "text": part.text}
                if part.image is None
                else {"type": "input_image", "image_url": part.image, "detail": "auto"}
                for part in message.content
            ]
        items.append({"role": message.role, "content": content})
    items += [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]
    return items
