"""A dependency that a worker opens once, hands to its steps, and closes when it stops."""

import asyncio
import sqlite3
from collections.abc import Iterator

from holdfast import Client, Depends, Worker, step, workflow


def open_shop() -> Iterator[sqlite3.Connection]:
    """Runs once per worker; what follows the `yield` runs when the worker stops."""
    shop = sqlite3.connect("file:shop?mode=memory&cache=shared", uri=True, check_same_thread=False)
    shop.execute("create table stock (item text primary key, count integer not null)")
    shop.executemany("insert into stock values (?, ?)", [("umbrella", 12), ("raincoat", 3)])
    yield shop
    shop.close()


@step
def take(item: str, count: int, shop: sqlite3.Connection = Depends(open_shop)) -> int:
    """The connection never travels: the worker fills it in, and the workflow does not see it."""
    with shop:
        shop.execute("update stock set count = count - ? where item = ?", (count, item))
        (left,) = shop.execute("select count from stock where item = ?", (item,)).fetchone()
    return int(left)


@workflow
async def sell(item: str, count: int) -> str:
    left = await take(item, count)
    return f"{left} x {item} left"


async def main() -> None:
    async with Client.embedded() as client, Worker(client, [sell]):
        print(await client.run(sell, "umbrella", 2))
        print(await client.run(sell, "raincoat", 1))


if __name__ == "__main__":
    asyncio.run(main())
