"""The span of one request to a model, in the words of OpenTelemetry's GenAI conventions. Never what was said."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import urlsplit

from holdfast.tracing import Attribute, Outgoing, outgoing
from holdfast_executors.llm_models import LlmConfig, Reply

_TOLD: Final = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
}


def asking(config: LlmConfig, model: str) -> AbstractContextManager[Outgoing]:
    """The span of a request, named `chat MODEL`."""
    place = urlsplit(config.base_url)
    attributes: dict[str, Attribute | None] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",  # by its API; whose endpoint it is, server.address tells
        "gen_ai.request.model": model,
        "gen_ai.output.type": "text" if config.output is None else "json",
        "server.address": place.hostname,
        "server.port": place.port,
    }
    for name, told in _TOLD.items():
        value = config.params.get(name)
        if isinstance(value, int | float):
            attributes[told] = value
    return outgoing(f"chat {model}", attributes)


def describe(call: Outgoing, reply: Reply) -> None:
    """Add what came back: tokens, why it ended, its id."""
    told: dict[str, Attribute | None] = {
        "gen_ai.response.finish_reasons": [reply.finish_reason],
        "gen_ai.response.id": reply.response_id or None,
    }
    if reply.usage is not None:
        told |= {
            "gen_ai.usage.input_tokens": reply.usage.input_tokens,
            "gen_ai.usage.output_tokens": reply.usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": reply.usage.cached_tokens,
            "gen_ai.usage.reasoning.output_tokens": reply.usage.reasoning_tokens,
        }
    call.set(told)
