"""Answers in the format of `/v1/responses`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.testing.llm_answers import LLMAnswer
from holdfast.testing.llm_request import LLMRequest
from holdfast.testing.llm_wire import event, pieces, usage_of

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def responses_open(
    request: LLMRequest, number: int, created: int, status: str = "in_progress"
) -> dict[str, Any]:
    """A response that has no output yet."""
    body = request.body
    return {
        "id": f"resp_{number:06}",
        "object": "response",
        "created_at": created,
        "status": status,
        "background": request.background,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": request.model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def responses_body(answer: LLMAnswer, request: LLMRequest, number: int, created: int) -> dict[str, Any]:
    """A whole answer."""
    incomplete = _INCOMPLETE.get(answer.reason)
    return {
        **responses_open(request, number, created, "incomplete" if incomplete else "completed"),
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "output": _output(answer, number),
        "usage": _usage(answer, request),
    }


def responses_events(answer: LLMAnswer, request: LLMRequest, number: int, created: int) -> Iterator[bytes]:
    """The same as a stream. All but the last event leave the end open."""
    count = 0

    def made(kind: str, **fields: Any) -> bytes:
        nonlocal count
        count += 1
        return event({"type": kind, "sequence_number": count - 1, **fields}, name=kind)

    begun = responses_open(request, number, created)
    yield made("response.created", response=begun)
    yield made("response.in_progress", response=begun)
    for index, item in enumerate(_output(answer, number)):
        at: dict[str, Any] = {"item_id": item["id"], "output_index": index}
        blank: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
        opened = {**item, **blank, "status": "in_progress"}
        yield made("response.output_item.added", output_index=index, item=opened)
        if item["type"] == "function_call":
            for piece in pieces(item["arguments"]):
                yield made("response.function_call_arguments.delta", **at, delta=piece)
            yield made("response.function_call_arguments.done", **at, arguments=item["arguments"])
        else:
            [part] = item["content"]
            key = "refusal" if part["type"] == "refusal" else "text"
            name = "response.refusal" if key == "refusal" else "response.output_text"
            more: dict[str, Any] = {} if key == "refusal" else {"logprobs": []}
            at["content_index"] = 0
            yield made("response.content_part.added", **at, part={**part, key: ""})
            for piece in pieces(part[key]):
                yield made(f"{name}.delta", **at, delta=piece, **more)
            yield made(f"{name}.done", **at, **{key: part[key]}, **more)
            yield made("response.content_part.done", **at, part=part)
        yield made("response.output_item.done", output_index=index, item=item)
    whole = responses_body(answer, request, number, created)
    yield made(f"response.{whole['status']}", response=whole)


def _output(answer: LLMAnswer, number: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    status = "incomplete" if answer.reason in _INCOMPLETE else "completed"
    if answer.text or answer.refusal or not answer.tool_calls:
        part: dict[str, Any] = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        if answer.refusal:
            part = {"type": "refusal", "refusal": answer.refusal}
        items.append(
            {
                "id": f"msg_{number:06}",
                "type": "message",
                "status": status,
                "role": "assistant",
                "content": [part],
            }
        )
    items += [
        {
            "id": f"fc_{number:06}_{index}",
            "type": "function_call",
            "status": status,
            "call_id": f"call_{number:06}_{index}",
            "name": call.name,
            "arguments": call.json,
        }
        for index, call in enumerate(answer.tool_calls)
    ]
    return items


def _usage(answer: LLMAnswer, request: LLMRequest) -> dict[str, Any] | None:
    usage = usage_of(answer, request)
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
