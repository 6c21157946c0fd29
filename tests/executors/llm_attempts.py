"""Single attempts of the llm executor, as a worker runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from holdfast.testing import FakeLLM
from holdfast.testing.executor_bench import Bench, Ended
from holdfast_executors.llm_client import Endpoints, open_endpoints
from holdfast_executors.llm_executor import Llm
from holdfast_executors.llm_models import LlmOutput
from holdfast_executors.llm_stream import TokenPiece, token_sink


def asking(llm: FakeLLM, **config: Any) -> dict[str, Any]:
    """A config that asks a model of this endpoint."""
    chosen = {"model": "m", "base_url": llm.base_url, **config}
    return chosen if "messages" in chosen else {"prompt": "Hi", **chosen}


async def attempt(
    config: Mapping[str, Any],
    *,
    endpoints: Endpoints | None = None,
    secrets: Mapping[str, str] | None = None,
    pieces: list[TokenPiece] | None = None,
) -> Ended:
    """One attempt."""
    overrides: dict[Any, Any] = {} if endpoints is None else {open_endpoints: endpoints}
    if pieces is not None:
        overrides[token_sink] = pieces.append
    async with Bench(Llm, secrets or {}, overrides) as bench:
        return await bench.attempt(config, None)


async def output(config: Mapping[str, Any], **options: Any) -> LlmOutput:
    """The output of an attempt that succeeds."""
    ended = await attempt(config, **options)
    assert ended.error is None, ended.error
    return LlmOutput.model_validate(from_json(ended.output.data))


async def refused(config: Mapping[str, Any], **options: Any) -> str:
    """What an attempt says that fails for good."""
    ended = await attempt(config, **options)
    assert ended.error is not None, ended.output
    assert ended.error.non_retryable, ended.error
    return f"{ended.error.type}: {ended.error.message}"


async def postponed(config: Mapping[str, Any], **options: Any) -> tuple[str, float | None]:
    """What an attempt says that is to be made again, and after how many seconds if the endpoint says so."""
    ended = await attempt(config, **options)
    assert ended.error is not None, ended.output
    assert not ended.error.non_retryable, ended.error
    delay = ended.error.next_retry_delay if ended.error.type == "RetryAfter" else None
    return f"{ended.error.type}: {ended.error.message}", delay.total_seconds() if delay else None
