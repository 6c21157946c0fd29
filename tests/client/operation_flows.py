"""What tests of operations and of dead letters share."""

from __future__ import annotations

from holdfast import (
    Client,
    Permanent,
    approval,
    step,
    workflow,
)
from holdfast.indexer import Indexer

broken: set[str] = set()
"""Names for which `serve` fails."""


@step
async def serve(name: str) -> str:
    if name in broken:
        raise Permanent(f"no {name} today")
    return name


@workflow
async def serving(name: str) -> str:
    return await serve(name)


@workflow
async def asking(name: str) -> str:
    return f"{name} {(await approval('May it?')).approved}"


async def index(client: Client) -> None:
    await Indexer(client.temporal, await client.store.database()).catch_up()
