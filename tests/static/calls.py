"""What the type checkers infer for steps and workflows. Checked by mypy and pyright, both strict; never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=error, reportUnusedCoroutine=false
# mypy: disable-error-code="unused-coroutine"

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from holdfast import Client, Depends, RetryPolicy, Run, Step, Workflow, step, workflow


@dataclass
class Order:
    id: str
    cents: int


@dataclass
class Receipt:
    id: str


@step
async def charge(order: Order, currency: str = "EUR") -> Receipt:
    return Receipt(id=f"{order.id} {currency}")


@step
def count(order: Order) -> int:
    return order.cents


@step(timeout=timedelta(seconds=3), retry=RetryPolicy(max_attempts=2), summary="asks the bank")
async def ask(order: Order, *, urgent: bool) -> list[str]:
    return [order.id, str(urgent)]


@step(local=True)
def note(text: str) -> None: ...


@workflow
async def fulfil(order: Order, express: bool = False) -> list[Receipt]:
    receipt = await charge(order)
    assert_type(receipt, Receipt)
    assert_type(await count(order), int)
    assert_type(await ask(order, urgent=express), list[str])
    assert_type(await charge.with_options(summary="again")(order, "USD"), Receipt)
    assert_type(note("x"), Coroutine[Any, Any, None])
    charge("1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    charge(order, 7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    charge()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    ask(order)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    return [receipt]


@workflow(queue="slow", timeout=timedelta(days=1))
async def parent(order: Order) -> int:
    receipts = await fulfil(order, express=True)
    assert_type(receipts, list[Receipt])
    fulfil(order, 7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    return len(await fulfil.with_options(id="child")(order))


assert_type(charge, Step[..., Receipt])  # type: ignore[assert-type] # pyright: ignore[reportAssertTypeFailure]
kept: Step[..., Receipt] = charge
named: Workflow[..., int] = parent


async def runs(client: Client, order: Order) -> None:
    run = await client.start(fulfil, order, True, id="order-1", delay=timedelta(hours=1))
    assert_type(run, Run[list[Receipt]])
    assert_type(await run.result(), list[Receipt])
    assert_type(await client.run(fulfil, order), list[Receipt])
    assert_type(await client.run(parent, order, id="7"), int)
    assert_type(client.get("order-1", parent), Run[int])
    await client.start(fulfil)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await client.start(fulfil, "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await client.start(fulfil, order, 7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await client.run(parent, order, True)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await client.start(fulfil, order, id=7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class Shop:
    @step
    async def price(self, item: str) -> int:
        return len(item)

    @step(retry="none")
    def stock(self, item: str, at_least: int = 1) -> bool:
        return len(item) > at_least


@workflow
async def sell(item: str) -> int:
    shop = Shop()
    assert_type(await shop.stock(item), bool)
    assert_type(await shop.stock(item, at_least=2), bool)
    assert_type(await Shop.price(item), int)
    shop.price(7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Shop.price()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    return await shop.price(item)


class Pool: ...


async def open_pool() -> AsyncIterator[Pool]:
    yield Pool()


def open_file() -> Iterator[bytes]:
    yield b""


async def connect() -> Pool:
    return Pool()


def configure() -> str:
    return "x"


@step
async def save(
    order: Order,
    pool: Pool = Depends(open_pool),
    file: bytes = Depends(open_file),
    other: Pool = Depends(connect),
    setting: str = Depends(configure),
    made: Pool = Depends(Pool),
) -> None: ...


@step
async def wrong(
    order: Order,
    pool: Pool = Depends(open_file),  # type: ignore[assignment] # pyright: ignore[reportArgumentType]
) -> None: ...


@workflow
async def saves(order: Order) -> None:
    assert_type(await save(order), None)
    await save(order, pool=Pool())
