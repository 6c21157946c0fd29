"""A one-step workflow in a module that imports 30 models and 50 steps."""

from __future__ import annotations

from benchmarks import wide_models
from benchmarks.holdfast_flows import increment
from holdfast import workflow


@workflow
async def wide(count: int) -> int:
    """One step."""
    return await increment(count) + 0 * len(wide_models.MODELS) * len(wide_models.STEPS)
