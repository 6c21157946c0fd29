"""Executors and the workflows that call them, for tests of the worker's side."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, JsonValue

from holdfast import (
    Executor,
    ExecutorContext,
    ExecutorOptions,
    Permanent,
    RetryPolicy,
    register_executor,
    template,
    workflow,
)

QUICK = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=10), jitter=0)


class TalkConfig(BaseModel, extra="forbid"):
    text: str = ""
    """What to say."""
    shout: bool = False
    """Whether to say it in capitals."""


class Said(BaseModel):
    text: str
    """What was said."""
    attempt: int = 1
    """On which attempt."""
    idempotency_key: str = ""
    """Of the call."""
    node: str = ""
    """Which call."""


opened: list[str] = []


async def open_line() -> AsyncIterator[list[str]]:
    opened.append("open")
    yield opened
    opened.append("close")


@register_executor
class Talk(Executor[TalkConfig, Said]):
    """Says something."""

    type = "talk"
    options = ExecutorOptions(retry=QUICK, idempotent=True, local=True)

    async def execute(self, ctx: ExecutorContext, config: TalkConfig, input: JsonValue) -> Said:
        assert (await ctx.get(open_line))[0] == "open"
        text = config.text if input is None else f"{config.text} {input}"
        return Said(
            text=text.upper() if config.shout else text,
            attempt=ctx.attempt,
            idempotency_key=ctx.idempotency_key,
            node=ctx.node,
        )

    def validate(self, config: TalkConfig) -> list[str]:
        return ["text: nobody says that"] if config.text == "unspeakable" else []


class TroubleConfig(BaseModel, extra="forbid"):
    how: str
    """What goes wrong."""
    key: str = ""
    """A secret."""


class Unreadable(Exception):
    def __init__(self) -> None:
        super().__init__(object(), lambda: None)

    def __str__(self) -> str:
        raise RuntimeError("no words")


@register_executor
class Trouble(Executor[TroubleConfig, Any]):
    """Goes wrong in every way."""

    type = "trouble"
    options = ExecutorOptions(retry=QUICK)

    async def execute(self, ctx: ExecutorContext, config: TroubleConfig, input: JsonValue) -> Any:
        key = config.key
        match config.how:
            case "quotes":
                try:
                    raise ValueError(f"the request had Authorization: Bearer {key}")
                except ValueError as error:
                    raise RuntimeError(f"refused {key!r}") from error
            case "permanent":
                raise Permanent(f"wrong key {key}")
            case "unreadable":
                raise Unreadable
            case "unserialisable":
                return {"lock": object()}
            case "returns":
                return {"echo": f"you sent {key}", key: [key]}
            case "beats":
                if ctx.attempt == 1:
                    ctx.heartbeat({"at": 1, "key": key})
                    raise RuntimeError("again")
                return ctx.heartbeat_details
            case "logs":
                ctx.logger.warning("using %s", key)
                logging.getLogger("somebody.else").warning("GET /?key=%s", key)
                return None
            case "named":
                return len(await ctx.secrets.get(key))
            case "spends":
                ctx.add_usage(cost_usd=0.25, tokens=100)
                ctx.add_usage(tokens=11)
                return "spent"
            case "sleeps":
                await asyncio.sleep(60)
            case "exits":
                raise SystemExit(3)
        return None


@workflow
async def say(text: str, input: str | None) -> Said:
    return await Talk.call(TalkConfig(text=text), input=input)


@workflow
async def say_twice(text: str) -> list[Said]:
    first = await Talk.call({"text": text, "shout": True}, summary="the first")
    return [first, await Talk.call({"text": text})]


@workflow
async def say_wrong(config: dict[str, Any]) -> Said:
    return await Talk.call(config)


@workflow
async def trouble(how: str) -> Any:
    return await Trouble.call({"how": how, "key": template("{{ secrets.API_KEY }}")})


@workflow
async def shout_secret() -> Said:
    return await Talk.call({"text": "", "shout": template("{{ secrets.API_KEY }}")})


@workflow
async def name_secret(name: str) -> Any:
    return await Trouble.call(TroubleConfig(how="named", key=name))


@workflow
async def say_locally(text: str) -> Said:
    return await Talk.call({"text": text}, local=True)
