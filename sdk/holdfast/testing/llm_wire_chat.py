"""Answers in the format of `/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.testing.llm_answers import LLMAnswer
from holdfast.testing.llm_request import LLMRequest
from holdfast.testing.llm_wire import DONE, event, pieces, usage_of


def chat_body(answer: LLMAnswer, request: LLMRequest, number: int, created: int) -> dict[str, Any]:
    """A whole answer."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if answer.refusal or (answer.tool_calls and not answer.text) else answer.text,
        "refusal": answer.refusal,
        "annotations": [],
    }
    if answer.tool_calls:
        message["tool_calls"] = _tool_calls(answer, number)
    return {
        "id": f"chatcmpl-{number:06}",
        "object": "chat.completion",
        "created": created,
        "model": request.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.reason}],
        "usage": _usage(answer, request),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def chat_events(answer: LLMAnswer, request: LLMRequest, number: int, created: int) -> Iterator[bytes]:
    """The same as a stream. All but the last event leave the end open."""
    options: dict[str, Any] = request.body.get("stream_options") or {}
    with_usage = options.get("include_usage") is True

    def chunk(delta: dict[str, Any] | None, reason: str | None = None) -> bytes:
        made: dict[str, Any] = {
            "id": f"chatcmpl-{number:06}",
            "object": "chat.completion.chunk",
            "created": created,
            "model": request.model,
            "service_tier": "default",
            "system_fingerprint": None,
            "choices": [],
        }
        if delta is not None:
            made["choices"] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        if with_usage:
            made["usage"] = _usage(answer, request) if delta is None else None
        return event(made)

    yield chunk({"role": "assistant", "content": None if answer.tool_calls else "", "refusal": None})
    key = "refusal" if answer.refusal else "content"
    for piece in pieces(answer.refusal or answer.text):
        yield chunk({key: piece})
    for index, call in enumerate(_tool_calls(answer, number)):
        function = call["function"]
        yield chunk({"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]})
        for piece in pieces(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    end = chunk({}, answer.reason)
    yield end + (chunk(None) if with_usage else b"") + DONE


def _tool_calls(answer: LLMAnswer, number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{number:06}_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.json},
        }
        for index, call in enumerate(answer.tool_calls)
    ]


def _usage(answer: LLMAnswer, request: LLMRequest) -> dict[str, Any] | None:
    usage = usage_of(answer, request)
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
