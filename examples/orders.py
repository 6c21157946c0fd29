"""An order as a saga: reserve, charge, ship; what was done is undone when a later step fails."""

import asyncio
from datetime import timedelta

from pydantic import BaseModel

from holdfast import Client, Permanent, RunFailed, Worker, approval, step, workflow
from holdfast_server.demo.ledger import recorded


class Order(BaseModel):
    number: str
    item: str
    price: float
    card: str


@step
async def reserve(order: Order) -> str:
    with recorded(order.item):
        return f"{order.item} for {order.number}"


@reserve.compensate
async def release(order: Order, reservation: str | None) -> None:
    with recorded(order.item):
        print(f"back on the shelf: {reservation or order.item}")


@step
async def charge(order: Order) -> str:
    with recorded(f"card {order.card}"):
        if order.card.endswith("0002"):
            raise Permanent(
                f"card {order.card} was declined for {order.price:.2f}"
            )  # retrying would not help
        return f"{order.price:.2f} from card {order.card}"


@charge.compensate
async def refund(order: Order, receipt: str | None) -> None:
    with recorded(
        f"card {order.card}"
    ):  # without a receipt nobody knows whether it was charged: ask the bank
        print(f"paid back: {receipt or order.number}")


@step
async def ship(order: Order) -> str:
    with recorded(order.item):
        return f"{order.number} is on its way"


@workflow
async def fulfil(order: Order) -> str:
    await reserve(order)
    if order.price > 1000:
        decision = await approval(f"Ship {order.number}?", timeout=timedelta(days=2))
        if not decision.approved:
            raise ValueError(f"{order.number} was refused")
    await charge(order)
    return await ship(order)


async def main() -> None:
    async with Client.embedded() as client, Worker(client, [fulfil]):
        print(await client.run(fulfil, Order(number="A-1", item="umbrella", price=39, card="4242")))
        try:
            await client.run(fulfil, Order(number="A-2", item="raincoat", price=89, card="0002"))
        except RunFailed as error:
            print(f"undone: {error}")


if __name__ == "__main__":
    asyncio.run(main())
