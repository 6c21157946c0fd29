"""`llm`: asks a language model behind any endpoint that speaks OpenAI's API."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from holdfast import (
    Executor,
    ExecutorContext,
    ExecutorOptions,
    Permanent,
    RetryAfter,
    RetryPolicy,
    Unavailable,
)
from holdfast_executors.llm_client import Endpoints, open_endpoints
from holdfast_executors.llm_ladder import RUNGS, Shape, instructed, rungs_of, shaped
from holdfast_executors.llm_memo import Memo, request_hash
from holdfast_executors.llm_models import (
    OPENAI,
    Body,
    LlmConfig,
    LlmMessage,
    LlmOutput,
    Reply,
    Rung,
)
from holdfast_executors.llm_node import NodeTurn
from holdfast_executors.llm_request import body_of, conversation, problems_of
from holdfast_executors.llm_span import asking, describe
from holdfast_executors.llm_stream import Publish, TokenPiece, token_sink
from holdfast_executors.llm_usage import Spent

if TYPE_CHECKING:
    from holdfast_executors.llm_send import Sender

MAX_REASKS: Final = 2
"""How often an answer that does not fit is asked for again."""

MAX_TEXT_CHARS: Final = 1_000_000
"""No longer text is handed on."""


class Llm(Executor[LlmConfig, LlmOutput]):
    """Asks a language model behind any endpoint that speaks OpenAI's API, for text or for a value of a given shape."""

    type = "llm"
    options = ExecutorOptions(
        timeout=timedelta(minutes=2),
        retry=RetryPolicy(max_attempts=5, first_delay=timedelta(seconds=2)),
        has_effects=False,
    )

    async def execute(self, ctx: ExecutorContext, config: LlmConfig, input: JsonValue) -> LlmOutput:
        """See base class."""
        # The executors that it lends may have to be imported.
        turn = await asyncio.to_thread(NodeTurn, config, ctx.earlier) if config.tools else NodeTurn(config)
        return turn.ended(await self._answer(ctx, turn.config))

    async def _answer(self, ctx: ExecutorContext, config: LlmConfig) -> LlmOutput:
        endpoints = await ctx.get(open_endpoints)
        from holdfast_executors.llm_failures import NoModel
        from holdfast_executors.llm_send import Sender

        sender = Sender(endpoints, config, await _key(ctx, config), await _publisher(ctx, config), ctx)
        memo = Memo(ctx)
        spent = Spent(config.prices)
        *others, last = dict.fromkeys([config.model, *config.fallbacks])
        for model in others:
            try:
                return await _Call(ctx, config, model, endpoints, sender, memo, spent).answer()
            except (Unavailable, RetryAfter, NoModel) as error:
                ctx.logger.warning("model %s is left for the next one: %s", model, error)
        return await _Call(ctx, config, last, endpoints, sender, memo, spent).answer()

    def validate(self, config: LlmConfig) -> list[str]:
        """See base class."""
        problems = problems_of(config)
        if config.output is not None:
            try:
                Shape(config.output)
            except ValueError as error:
                problems.append(f"output: it is no JSON Schema: {error}")
        return problems


class _Call:
    """One call of one model: requests until the answer fits."""

    def __init__(
        self,
        ctx: ExecutorContext,
        config: LlmConfig,
        model: str,
        endpoints: Endpoints,
        sender: Sender,
        memo: Memo,
        spent: Spent,
    ) -> None:
        self.ctx, self.config, self.model = ctx, config, model
        self.endpoints, self.sender, self.memo, self.spent = endpoints, sender, memo, spent

    async def answer(self) -> LlmOutput:
        """Ask for text, or for a value."""
        messages = conversation(self.config)
        if self.config.output is not None:
            return await self._typed(messages, Shape(self.config.output))
        reply = await self._ask(body_of(self.config, self.model, messages))
        return self._output(reply)

    async def _typed(self, messages: Sequence[LlmMessage], shape: Shape) -> LlmOutput:
        known, rungs = (self.config.base_url, self.config.api, self.model), rungs_of(self.config)
        rung: Rung = self.endpoints.rungs.get(known, RUNGS[0])
        said, lacking, problems = list(messages), False, list[str]()
        for _ in range(1 + MAX_REASKS):
            reply, rung, refused = await self._on_rung(said, shape, rung, rungs)
            lacking |= refused
            if reply.tool_calls and rung != "tool":
                return self._output(reply)  # it wants to know more before it answers
            if reply.finish_reason == "length":
                raise Permanent(
                    f"{self.model} was cut off before its answer had an end{self._spent}: allow more tokens in params"
                )
            data, problems, is_json = shape.read(reply, rung)
            if not problems:
                if lacking:
                    self.endpoints.rungs[known] = rung
                return self._output(reply, data, rung)
            shown = reply.tool_calls[0].arguments if reply.tool_calls else reply.text
            said += [
                LlmMessage(role="assistant", content=shown),
                LlmMessage(role="user", content=shape.again(problems)),
            ]
            if not is_json and rung != rungs[-1]:  # perhaps it takes the field and does nothing with it
                rung, lacking = rungs[rungs.index(rung) + 1], True
        raise Permanent(
            f"{self.model} gave no value that fits, asked {1 + MAX_REASKS} times{self._spent}: {'; '.join(problems)}"
        )

    async def _on_rung(
        self, messages: Sequence[LlmMessage], shape: Shape, rung: Rung, rungs: Sequence[Rung]
    ) -> tuple[Reply, Rung, bool]:
        """An answer in the surest way that is not refused; that way, and whether the endpoint lacks a surer one."""
        from holdfast_executors.llm_failures import FormatRefused

        lacking = False
        if rung not in rungs:
            rung = rungs[-1]
        while True:
            body = body_of(self.config, self.model, instructed(messages, shape, rung))
            try:
                return await self._ask(shaped(body, shape, rung, self.config.api)), rung, lacking
            except FormatRefused as error:
                if rung == rungs[-1] or error.about != ("tools" if rung == "tool" else "format"):
                    raise
                lacking |= not error.of_schema
                rung = rungs[rungs.index(rung) + 1]

    async def _ask(self, body: Body) -> Reply:
        request = request_hash(self.config.base_url, self.config.api, body)
        reply = self.memo.reply(request)
        if reply is None:
            await self.memo.flush()
            with asking(self.config, self.model) as call:
                reply = await self.sender.send(body, self.memo, request)
                describe(call, reply)
            self.memo.keep(request, reply)
        tokens, cost_usd = self.spent.add(reply.usage, self.model)
        self.ctx.add_usage(tokens=tokens, cost_usd=cost_usd)
        if reply.refusal is not None:
            raise Permanent(f"{self.model} refused{self._spent}: {reply.refusal[:300]!r}")
        if reply.finish_reason == "content_filter":
            raise Permanent(f"the answer of {self.model} was withheld by a content filter{self._spent}")
        size = len(reply.text) + sum(len(call.arguments) for call in reply.tool_calls)
        if size > MAX_TEXT_CHARS:
            raise Permanent(
                f"{self.model} answered {size:,} characters, more than the {MAX_TEXT_CHARS:,} that are handed "
                f"on{self._spent}"
            )
        return reply

    @property
    def _spent(self) -> str:
        usage = self.spent.usage
        return f" ({usage.total_tokens:,} tokens)" if usage else ""

    def _output(self, reply: Reply, data: JsonValue = None, rung: Rung | None = None) -> LlmOutput:
        return LlmOutput(
            text=reply.text,
            data=data,
            model=self.model,
            finish_reason=reply.finish_reason,
            tool_calls=[] if rung == "tool" else reply.tool_calls,
            rung=rung,
            asks_count=self.spent.asks_count,
            usage=self.spent.usage,
            cost_usd=self.spent.cost_usd,
            response_id=reply.response_id,
        )


async def _key(ctx: ExecutorContext, config: LlmConfig) -> str | None:
    name = config.api_key_secret
    if name is None and config.base_url.rstrip("/") == OPENAI:
        name = "OPENAI_API_KEY"
    return await ctx.secrets.get(name) if name is not None else None


async def _publisher(ctx: ExecutorContext, config: LlmConfig) -> Publish:
    if not config.stream:
        return lambda text: None
    sink, count = await ctx.get(token_sink), 0

    def publish(text: str) -> None:
        nonlocal count
        piece = TokenPiece(run_id=ctx.run_id, node=ctx.node, attempt=ctx.attempt, index=count, text=text)
        count += 1
        try:
            sink(piece)
        except Exception:  # what subscribers do is no reason to lose an answer that is paid for
            ctx.logger.warning("a subscriber of tokens failed", exc_info=True)

    return publish
