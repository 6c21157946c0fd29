"""A DAG with the executor `sql`, which comes from this package: orders that cost much, from a SQLite database."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from holdfast import Client, Dag, Worker

dear_orders = Dag("dear_orders")
dear_orders.node(
    "dear",
    executor="sql",
    config={
        "statement": "SELECT id, cents FROM orders WHERE cents >= :least ORDER BY id",
        "parameters": {"least": "{{ input.least }}"},
    },
)
dear_orders.node(
    "lines",
    executor="transform",
    config={"expression": "input.dear.rows.map(row, row.id + ': ' + string(row.cents))"},
    depends_on=["dear"],
)


def make_shop() -> Path:
    path = Path("shop.db").resolve()
    with closing(sqlite3.connect(path)) as shop:
        shop.executescript(
            "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, cents INTEGER);"
            "INSERT OR IGNORE INTO orders VALUES ('A-1', 250), ('A-2', 700), ('A-3', 900);"
        )
    return path


async def main() -> None:
    path = await asyncio.to_thread(make_shop)
    secrets = {"DATABASE_URL": f"sqlite:///{path}"}
    async with Client.embedded() as client, Worker(client, [], secrets=secrets):
        for line in await client.run(dear_orders, {"least": 500}):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
