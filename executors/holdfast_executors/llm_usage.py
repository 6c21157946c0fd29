"""What answers cost, in tokens and in money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from holdfast_executors.llm_models import LlmOutput, LlmPrice, LlmUsage

_MILLION: Final = 1_000_000


class Spent:
    """What one call has spent so far, on all its answers.

    Attributes:
        usage: The tokens; None once an endpoint did not tell.
        cost_usd: US dollars; None once a price or the tokens were not known.
        asks_count: How many answers there were.

    Args:
        prices: By model.
    """

    def __init__(self, prices: Mapping[str, LlmPrice]) -> None:
        self.usage: LlmUsage | None = LlmUsage()
        self.cost_usd: float | None = 0.0
        self.asks_count = 0
        self._prices = prices

    def add(self, usage: LlmUsage | None, model: str) -> tuple[int, float]:
        """Count an answer.

        Returns:
            Its tokens and what it cost, as far as they are known.
        """
        self.asks_count += 1
        cost_usd = _cost(usage, self._prices.get(model))
        self.usage = _sum(self.usage, usage)
        self.cost_usd = None if cost_usd is None or self.cost_usd is None else self.cost_usd + cost_usd
        return usage.total_tokens if usage else 0, cost_usd or 0.0


def _sum(one: LlmUsage | None, other: LlmUsage | None) -> LlmUsage | None:
    if one is None or other is None:
        return None
    return LlmUsage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )


def _cost(usage: LlmUsage | None, price: LlmPrice | None) -> float | None:
    if usage is None or price is None:
        return None
    cached_usd = price.input_usd if price.cached_input_usd is None else price.cached_input_usd
    cached = min(usage.cached_tokens, usage.input_tokens)
    return (
        (usage.input_tokens - cached) * price.input_usd
        + cached * cached_usd
        + usage.output_tokens * price.output_usd
    ) / _MILLION


def total(outputs: Sequence[LlmOutput]) -> tuple[LlmUsage | None, float | None]:
    """What several calls spent together; None where one of them is not known."""
    usage: LlmUsage | None = LlmUsage()
    for output in outputs:
        usage = _sum(usage, output.usage)
    costs = [output.cost_usd for output in outputs]
    known = [cost for cost in costs if cost is not None]
    return usage, sum(known) if len(known) == len(costs) else None
