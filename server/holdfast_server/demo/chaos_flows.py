"""What `holdfast demo --chaos` runs: a workflow of each shape. Each attempt of a step writes itself into the ledger.

Steps try again soon and often, so that what fails is what is meant to fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from holdfast import Dag, Permanent, RetryPolicy, approval, map_steps, step, workflow
from holdfast_server.demo.ledger import recorded

_AGAIN: Final = RetryPolicy(
    max_attempts=30, first_delay=timedelta(milliseconds=200), max_delay=timedelta(seconds=2)
)
_BEAT: Final = timedelta(seconds=2)
"""So soon, a killed worker's steps begin again."""

GO: Final = "go"
"""The name of the approval."""


@step(name="storm.add", retry=_AGAIN, heartbeat=_BEAT)
async def add(total: int, number: int) -> int:
    with recorded(f"{total} + {number}"):
        await asyncio.sleep(0.1)
        return total + number


@step(name="storm.square", retry=_AGAIN, heartbeat=_BEAT)
def square(number: int) -> int:
    with recorded(str(number)):
        return number * number


@step(name="storm.reserve", retry=_AGAIN, heartbeat=_BEAT)
async def reserve(number: int) -> str:
    with recorded(str(number)):
        await asyncio.sleep(0.1)
        return f"seat {number}"


@reserve.compensate
async def release(number: int, seat: str | None) -> None:
    with recorded(str(number)):
        await asyncio.sleep(0.1)


@step(name="storm.charge", retry=_AGAIN, heartbeat=_BEAT)
async def charge(number: int) -> str:
    with recorded(str(number)):
        await asyncio.sleep(0.1)
        return f"charge {number}"


@charge.compensate
async def refund(number: int, receipt: str | None) -> None:
    with recorded(str(number)):
        await asyncio.sleep(0.1)


@step(name="storm.board", retry=_AGAIN, heartbeat=_BEAT)
async def board(number: int) -> str:
    with recorded(str(number)):
        raise Permanent(f"seat {number} is taken")


@workflow(name="storm-chain")
async def chain(number: int) -> int:
    total = 0
    for term in range(4):
        total = await add(total, number + term)
    return total


@workflow(name="storm-fan-out")
async def fan_out(number: int) -> int:
    return sum(await map_steps(square, range(number, number + 8), concurrency=4))


@workflow(name="storm-saga")
async def saga(number: int) -> str:
    await reserve(number)
    await charge(number)
    return await board(number)  # always refused: what was done is undone


@workflow(name="storm-family")
async def family(number: int) -> int:
    results = await asyncio.gather(chain(number), fan_out(number))
    return await add(*results)


@workflow(name="storm-approval")
async def asks(number: int) -> int:
    first = await add(0, number)
    decision = await approval(f"Go on with {number}?", name=GO)
    return await add(first, 1) if decision.approved else 0


graph = Dag("storm-graph")


@graph.step(retry=_AGAIN, heartbeat=_BEAT)
async def begin(input: int) -> int:
    with recorded(str(input)):
        await asyncio.sleep(0.1)
        return input


@graph.step(retry=_AGAIN, heartbeat=_BEAT)
async def left(begin: int) -> int:
    with recorded(str(begin)):
        await asyncio.sleep(0.2)
        return begin * 2


@graph.step(retry=_AGAIN, heartbeat=_BEAT)
async def right(begin: int) -> int:
    with recorded(str(begin)):
        await asyncio.sleep(0.1)
        return begin * 3


@graph.step(retry=_AGAIN, heartbeat=_BEAT)
async def both(left: int, right: int) -> int:
    with recorded(f"{left} + {right}"):
        return left + right


SHAPES: Final[Mapping[str, Any]] = {
    "chain": chain,
    "fan-out": fan_out,
    "saga": saga,
    "graph": graph,
    "family": family,
    "approval": asks,
}


def expected(shape: str, number: int) -> object:
    """What a run of this shape gives; None for the saga, which fails and undoes what it did."""
    chained, squares = 4 * number + 6, sum(n * n for n in range(number, number + 8))
    return {
        "chain": chained,
        "fan-out": squares,
        "saga": None,
        "graph": number * 5,
        "family": chained + squares,
        "approval": number + 1,
    }[shape]
