"""The one-function module that `wide_flows` is compared with."""

from __future__ import annotations

from benchmarks.holdfast_flows import increment
from holdfast import workflow


@workflow
async def narrow(count: int) -> int:
    """One step."""
    return await increment(count)
