"""The steps and the executor that tests of tools in nodes lend to models."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, JsonValue

from holdfast import (
    Executor,
    ExecutorContext,
    ExecutorOptions,
    Permanent,
    register_executor,
    step,
)

KEY = "canary-7h3qu1ckbrownf0x"
MADE: list[Any] = []


@step(name="node_order")
async def order(number: int, note: str = "") -> str:
    """Look an order up."""
    MADE.append((number, note))
    if number == 0:
        raise Permanent("order 0 was never made")
    return f"order {number}: {note}"


class FindConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    query: str
    """What to look for."""
    index: str = "public"
    """Where."""
    key: str = ""
    """What opens it."""
    secret: str = ""
    """The name of a secret that opens it."""


@register_executor
class Find(Executor[FindConfig, list[str]]):
    """Searches an index."""

    type = "node_find"
    options = ExecutorOptions(has_effects=False)

    async def execute(self, ctx: ExecutorContext, config: FindConfig, input: JsonValue) -> list[str]:
        opened = await ctx.secrets.get(config.secret) if config.secret else config.key
        MADE.append({"query": config.query, "index": config.index, "key": opened})
        return [f"{config.query} in {config.index}"]


MET: list[str] = []
BOTH = asyncio.Event()


@step(name="node_meet")
async def meet(name: str) -> str:
    """Comes back once two are there."""
    MET.append(name)
    if len(MET) == 2:
        BOTH.set()
    await asyncio.wait_for(BOTH.wait(), 30)
    return name


@step(name="node_long")
async def long(characters: int) -> str:
    """Says much."""
    return "x" * characters


@step(name="node_charge")
async def charge(amount: int, currency: str = "EUR") -> str:
    """Charges."""
    MADE.append(("charge", amount))
    return f"receipt {amount}"


@charge.compensate
async def refund(amount: int, currency: str, receipt: str | None) -> None:
    MADE.append(("refund", amount, currency, receipt))


@step(name="node_elsewhere", queue="node-elsewhere")
async def elsewhere(number: int) -> str:
    """Is served by few workers."""
    return f"it is {number}"


@step(name="node_break")
async def breaks(after: str) -> str:
    raise Permanent(f"no more {after[:3]}")
