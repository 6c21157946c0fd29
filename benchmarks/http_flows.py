"""100 calls at the same time: with the http executor, and with bare httpx in a plain activity."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from temporalio import activity
from temporalio import workflow as temporal

from benchmarks.raw_flows import OPTIONS, beating
from holdfast import workflow
from holdfast.authoring.dag import Dag
from holdfast_executors import http

CALLS = 100

raw_client: list[httpx.AsyncClient] = []
"""What the raw activities share."""


@activity.defn
@beating
async def raw_get(url: str) -> Any:
    """As one would write it."""
    response = await raw_client[0].get(url)
    response.raise_for_status()
    return response.json()


@temporal.defn(sandboxed=False)
class RawGets:
    """All at once."""

    @temporal.run
    async def run(self, url: str) -> int:
        """Run it."""
        found = await asyncio.gather(
            *(temporal.execute_activity(raw_get, url, **OPTIONS) for _ in range(CALLS))
        )
        return sum(len(answer["items"]) for answer in found)


@workflow(queue="bench-http", sandboxed=False)
async def gets(url: str) -> int:
    """The same in code."""
    found = await asyncio.gather(*(http.get(url) for _ in range(CALLS)))
    return sum(len(answer.body["items"]) for answer in found)  # type: ignore[index,call-overload,misc,arg-type]


def nodes(url: str) -> Dag:
    """The same as nodes."""
    dag = Dag("gets")
    for number in range(CALLS):
        dag.node(f"get_{number}", executor="http", config={"url": url})
    return dag
