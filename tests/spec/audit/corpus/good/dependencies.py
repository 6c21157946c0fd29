"""Dependencies that a worker opens once, for steps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from holdfast import Depends, step, workflow


@asynccontextmanager
async def database() -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect("postgres://127.0.0.1/shop")
    try:
        yield connection
    finally:
        await connection.close()


@step
async def count(table: str, connection: asyncpg.Connection = Depends(database)) -> int:
    return int(await connection.fetchval(f"select count(*) from {table}"))


@workflow
async def report(tables: list[str]) -> dict[str, int]:
    return {table: await count(table) for table in tables}
