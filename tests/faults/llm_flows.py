"""Chains of llm calls, for workers that are killed: `python -m tests.faults.host` serves them."""

from __future__ import annotations

from datetime import timedelta

from holdfast import RetryPolicy, workflow
from holdfast_executors.llm import Llm, LlmConfig


@workflow(name="llm_chain")
async def chain(base_url: str, label: str, count: int) -> int:
    """Ask for a number, again and again; each answer but the second of each call does not fit."""
    total = 0
    for index in range(count):
        config = LlmConfig(
            model="m", prompt=f"{label}/{index}", base_url=base_url, output={"type": "integer"}
        )
        answer = await Llm.call(
            config,
            heartbeat=timedelta(seconds=2),
            retry=RetryPolicy(max_attempts=1000, first_delay=timedelta(milliseconds=10), backoff=1),
        )
        assert isinstance(answer.data, int)
        total += answer.data
    return total
