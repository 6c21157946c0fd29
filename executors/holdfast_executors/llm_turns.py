"""A conversation with tools: turns of the model, and calls of tools between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel
from pydantic_core import to_json

from holdfast import HoldfastError, InvalidInput, PayloadTooLarge, Permanent, Ref, RetryAfter, StepFailed
from holdfast.errors import TryAgain
from holdfast_executors.llm_models import LlmConfig, LlmMessage, LlmOutput, LlmToolCall, LlmUsage
from holdfast_executors.llm_request import conversation
from holdfast_executors.llm_tools import BadArguments, Tool, arguments_in
from holdfast_executors.llm_usage import total

T = TypeVar("T")

_RESULT_CHARS: Final = 50_000
"""No more of a tool's result is shown to the model; it travels with every turn that follows."""

_CALLS_AT_ONCE: Final = 32
"""More calls in one answer than these are refused."""

_MENDABLE: Final = (StepFailed, InvalidInput, PayloadTooLarge, Permanent, RetryAfter, TryAgain)
"""What a model is told of a tool that fails. The rest, such as a budget or a cancel, is not its business."""


class ToolUse(BaseModel, use_attribute_docstrings=True):
    """One call of a tool."""

    name: str
    """The tool's, as the model wrote it."""

    arguments: str
    """As the model wrote them."""

    answer: str
    """What the model was told: the result, as JSON if it is no text, or what went wrong."""

    failed: bool
    """Whether something went wrong."""


class ToolRun(BaseModel, use_attribute_docstrings=True):
    """What came of a conversation with tools."""

    output: LlmOutput
    """The model's last answer."""

    uses: list[ToolUse]
    """The calls of tools, in order."""

    messages: list[LlmMessage]
    """The whole conversation, the last answer included: `messages=` of a call that goes on with it."""

    turns_count: int
    """How many times the model was asked."""

    usage: LlmUsage | None
    """The tokens of all turns; None when one of them is not known."""

    cost_usd: float | None
    """What all turns cost; None when one of them is not known."""

    @property
    def text(self) -> str:
        """What the model said last."""
        return self.output.text


async def run_turns(
    config: LlmConfig,
    ask: Callable[[LlmConfig], Awaitable[LlmOutput]],
    known: Mapping[str, Tool],
    max_turns: int,
) -> ToolRun:
    """Ask until the model asks for no tool.

    Args:
        config: Of the first turn.
        ask: Asks the model.
        known: The tools by name.
        max_turns: How often the model is asked at most.

    Raises:
        InvalidInput: It still asks for tools after so many turns.
    """
    outputs: list[LlmOutput] = []
    uses: list[ToolUse] = []
    while len(outputs) < max_turns:
        output = await ask(config)
        outputs.append(output)
        said = [
            *conversation(config),
            LlmMessage(role="assistant", content=output.text, tool_calls=output.tool_calls),
        ]
        if not output.tool_calls:
            usage, cost_usd = total(outputs)
            return ToolRun(
                output=output,
                uses=uses,
                messages=said,
                turns_count=len(outputs),
                usage=usage,
                cost_usd=cost_usd,
            )
        used = await asyncio.gather(
            *(_use(known, asked, index) for index, asked in enumerate(output.tool_calls))
        )
        uses += used
        said += [
            LlmMessage(role="tool", tool_call_id=asked.id, content=use.answer)
            for asked, use in zip(output.tool_calls, used, strict=True)
        ]
        config = following(config, said)
    raise InvalidInput(
        f"{config.model} still asks for tools after max_turns={max_turns}: raise it, or give the model less to do"
    )


def following(config: LlmConfig, messages: Sequence[LlmMessage]) -> LlmConfig:
    """The same call with another conversation."""
    said = {"messages": list(messages), "prompt": None, "system": None, "images": []}
    return config.model_copy(update=said)


def chosen(tools: Mapping[str, T], asked: LlmToolCall, index: int) -> T:
    """The tool that a model asks for.

    Args:
        tools: By name.
        asked: What it asks for.
        index: Its place among what is asked for at once.

    Raises:
        BadArguments: There is none, or too many are asked for.
    """
    if asked.name not in tools:
        raise BadArguments(f"there is no tool {asked.name!r:.100}; there is {', '.join(tools)}")
    if index >= _CALLS_AT_ONCE:
        raise BadArguments(f"not called, {_CALLS_AT_ONCE} calls at once are the most; ask again")
    return tools[asked.name]


def shown(result: object) -> str:
    """What a model is told of a result."""
    text = result if isinstance(result, str) else to_json(result, inf_nan_mode="null").decode()
    if len(text) > _RESULT_CHARS:
        text = f"{text[:_RESULT_CHARS]}... ({len(text) - _RESULT_CHARS} characters left out)"
    return text


def wrong(said: str) -> str:
    """What a model is told of what went wrong."""
    return f"error: {said:.2000}"


async def _use(tools: Mapping[str, Tool], asked: LlmToolCall, index: int) -> ToolUse:
    """One call of a tool. What the model can mend is its answer."""

    def answered(answer: str, *, failed: bool) -> ToolUse:
        return ToolUse(name=asked.name, arguments=asked.arguments, answer=answer, failed=failed)

    try:
        tool = chosen(tools, asked, index)
        result: object = await tool.call(tool.prepare(arguments_in(asked.arguments)))
    except BadArguments as error:
        return answered(wrong(str(error)), failed=True)
    except _MENDABLE as error:
        return answered(wrong(error.message if isinstance(error, HoldfastError) else str(error)), failed=True)
    if isinstance(result, Ref):
        return answered(
            wrong(f"the result has {result.size_bytes} bytes, too many to show; ask for less"), failed=True
        )
    return answered(shown(result), failed=False)
