"""A node's conversation with tools: the executor does the turns of the model, the run calls the tools between them."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.authoring.next_call import Earlier, NextCall, ToolCall
from holdfast_executors.llm_models import LlmConfig, LlmMessage, LlmNodeTool, LlmOutput, LlmToolCall
from holdfast_executors.llm_request import conversation
from holdfast_executors.llm_tools import BadArguments, Tool, arguments_in, by_name, node_tool
from holdfast_executors.llm_turns import chosen, following, shown, wrong
from holdfast_executors.llm_usage import total


class NodeTurn:
    """One turn.

    Args:
        config: Of the node.
        earlier: The answer before this one, and what came of the tools that it asked for; None for the first turn.

    Raises:
        InvalidInput: This worker has not what the node lends.

    Attributes:
        config: What to ask the model.
    """

    def __init__(self, config: LlmConfig, earlier: Earlier | None = None) -> None:
        self._max_turns = config.max_turns
        self._tools = _lent(config)
        self._before: list[LlmOutput] = []
        self._said: list[LlmMessage] = []
        if earlier is not None:
            before = LlmOutput.model_validate(earlier.output)
            self._before.append(before)
            self._said = [
                *before.said,
                *(
                    LlmMessage(
                        role="tool",
                        tool_call_id=asked.id,
                        content=shown(called.output) if called.error is None else wrong(called.error),
                    )
                    for asked, called in zip(before.tool_calls, earlier.calls, strict=True)
                ),
            ]
        self.config = config
        if self._tools:
            told = [LlmNodeTool(**tool.told.model_dump()) for _, tool in self._tools.values()]
            self.config = following(config, [*conversation(config), *self._said]).model_copy(
                update={"tools": told}
            )

    def ended(self, output: LlmOutput) -> LlmOutput:
        """The node's output after this answer; if the model asks for tools, with the turn that follows."""
        if not self._tools:
            return output
        every = [*self._before, output]
        usage, cost_usd = total(every)
        answer = LlmMessage(role="assistant", content=output.text, tool_calls=output.tool_calls)
        calls = [self._call(asked, index) for index, asked in enumerate(output.tool_calls)]
        return output.model_copy(
            update={
                "said": [*self._said, answer],
                "usage": usage,
                "cost_usd": cost_usd,
                "asks_count": sum(one.asks_count for one in every),
                "next": NextCall(max_calls=self._max_turns, repeats=True, calls=calls) if calls else None,
            }
        )

    def _call(self, asked: LlmToolCall, index: int) -> ToolCall:
        try:
            place, tool = chosen(self._tools, asked, index)
            given = arguments_in(asked.arguments)
            tool.prepare(given)
        except BadArguments as error:
            return ToolCall(error=str(error))
        return ToolCall(tool=place, given=dict(given))


def _lent(config: LlmConfig) -> Mapping[str, tuple[int, Tool]]:
    """What the node lends, by the name that the model knows, with its place."""
    tools = {
        place: tool for place, entry in enumerate(config.tools) if (tool := node_tool(entry)) is not None
    }
    by_name(list(tools.values()))
    return {tool.told.name: (place, tool) for place, tool in tools.items()}
