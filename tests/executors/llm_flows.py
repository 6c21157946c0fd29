"""Workflows that ask language models, and the tools that they lend them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, field_validator

from holdfast import Permanent, step, workflow
from holdfast_executors import llm

looked_up: list[str] = []


class Order(BaseModel):
    number: int
    """Its number."""
    lines: list[str] = []
    """What was ordered."""


class City(BaseModel):
    name: str
    population: int

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not name.istitle():
            raise ValueError("a name begins with a capital letter")
        return name


@step(name="llm_look_up")
async def look_up(order: Order, full: bool = False) -> str:
    """Look an order up.

    It is in the archive.
    """
    looked_up.append(f"{order.number} {full}")
    if order.number == 0:
        raise Permanent("order 0 was never made")
    return f"order {order.number}: {'x' * (200_000 if full else 1)}"


@step(name="llm_weather")
def weather(city: str) -> dict[str, float]:
    """The weather in a city."""
    return {"celsius": len(city)}


@workflow(name="llm_ask")
async def ask(base_url: str, options: dict[str, Any]) -> llm.LlmOutput:
    return await llm.ask("Hi", model="m", base_url=base_url, **options)


@workflow(name="llm_ask_for_city")
async def ask_for_city(base_url: str) -> City:
    return await llm.ask_for(City, "Where?", model="m", base_url=base_url)


@workflow(name="llm_with_tools")
async def with_tools(base_url: str, max_turns: int) -> llm.ToolRun:
    return await llm.run_tools(
        "Where is my order?", model="m", base_url=base_url, tools=[look_up, weather], max_turns=max_turns
    )
