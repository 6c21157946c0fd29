"""What an endpoint answered, read from either API with care: compatible endpoints leave out what they like."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from holdfast import Permanent, Unavailable
from holdfast.spec.cel_values import is_list, is_map
from holdfast_executors.llm_models import LlmToolCall, LlmUsage, Reply

QUOTED_CHARS: Final = 200

_ENDS: Final[Mapping[str, str]] = {"max_output_tokens": "length", "content_filter": "content_filter"}


def parse(data: bytes, api: str) -> Reply:
    """A whole answer.

    Raises:
        Unavailable: It is no JSON, or no answer: a proxy spoke, or the connection was cut.
    """
    if not data.strip():
        raise Unavailable("the endpoint answered with an empty body")
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"the endpoint's answer is no JSON ({error}): {quoted(data)}") from None
    return read_chat(value) if api == "chat" else read_response(value)


def quoted(data: bytes) -> str:
    """The beginning of what was said, for messages."""
    return repr(data[:QUOTED_CHARS].decode("utf-8", "replace"))


def read_chat(value: object) -> Reply:
    """An answer of the chat API.

    Raises:
        Unavailable: It is none.
    """
    choices = _list(_map(value).get("choices"))
    if not choices:
        raise _no_answer(value)
    choice = _map(choices[0])
    message = _map(choice.get("message"))
    reason = _text(choice.get("finish_reason"))
    if not message:
        raise _no_answer(value)
    calls: list[LlmToolCall] = []
    for index, call in enumerate(_list(message.get("tool_calls"))):
        function = _map(_map(call).get("function"))
        calls.append(_call(_map(call).get("id"), function, index))
    return Reply(
        text=_text(message.get("content")),
        refusal=_text(message.get("refusal")) or None,
        finish_reason=reason or ("tool_calls" if calls else "stop"),
        tool_calls=calls,
        usage=chat_usage(_map(value).get("usage")),
        response_id=_text(_map(value).get("id")),
    )


def chat_usage(value: object) -> LlmUsage | None:
    """Tokens as the chat API tells them; None if it does not."""
    usage = _map(value)
    if not usage:
        return None
    return LlmUsage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(_map(usage.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=_count(_map(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def read_response(value: object) -> Reply:
    """An answer of the Responses API.

    Raises:
        Unavailable: It is none, or the model failed. Permanent: It was cancelled, or failed for good.
    """
    response = _map(value)
    status, output = response.get("status"), response.get("output")
    if status in ("failed", "cancelled"):
        raise _failed(response)
    if status not in ("completed", "incomplete", None) or not is_list(output):
        raise _no_answer(value)
    texts: list[str] = []
    refusals: list[str] = []
    calls: list[LlmToolCall] = []
    for item in map(_map, output):
        if item.get("type") == "function_call":
            calls.append(_call(item.get("call_id"), item, len(calls)))
        for part in map(_map, _list(item.get("content")) if item.get("type") == "message" else []):
            texts.append(_text(part.get("text")))
            refusals.append(_text(part.get("refusal")))
    reason = _map(response.get("incomplete_details")).get("reason")
    usage = _map(response.get("usage"))
    return Reply(
        text="".join(texts),
        refusal="".join(refusals) or None,
        finish_reason=_ENDS.get(_text(reason), _text(reason)) or ("tool_calls" if calls else "stop"),
        tool_calls=calls,
        usage=LlmUsage(
            input_tokens=_count(usage.get("input_tokens")),
            output_tokens=_count(usage.get("output_tokens")),
            cached_tokens=_count(_map(usage.get("input_tokens_details")).get("cached_tokens")),
            reasoning_tokens=_count(_map(usage.get("output_tokens_details")).get("reasoning_tokens")),
        )
        if usage
        else None,
        response_id=_text(response.get("id")),
    )


def _failed(response: Mapping[str, Any]) -> Exception:
    error = _map(response.get("error"))
    said = _text(error.get("message"))[:QUOTED_CHARS]
    if response.get("status") == "failed" and error.get("code") in (
        "server_error",
        "rate_limit_exceeded",
        None,
    ):
        return Unavailable(f"the response failed: {said!r}")
    return Permanent(f"the response is {response.get('status')}: {_text(error.get('code'))} {said!r}")


def _no_answer(value: object) -> Unavailable:
    said = json.dumps(value, ensure_ascii=False)[:QUOTED_CHARS]
    return Unavailable(f"the endpoint sent JSON that is no answer: {said}")


def _call(id: object, function: Mapping[str, Any], index: int) -> LlmToolCall:
    arguments = function.get("arguments")
    return LlmToolCall(
        id=_text(id) or f"call_{index}",
        name=_text(function.get("name")),
        arguments=arguments if isinstance(arguments, str) else json.dumps(arguments or {}),
    )


def _map(value: object) -> Mapping[str, Any]:
    return value if is_map(value) else {}


def _list(value: object) -> Sequence[Any]:
    return value if is_list(value) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else 0
