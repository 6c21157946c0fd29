"""A trip that is undone when a part of it fails; the steps may do all that workflows may not."""

import os
import random
import uuid

import httpx

from holdfast import Permanent, step, step_info, workflow


@step
async def book_hotel(city: str) -> str:
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            os.environ["HOTELS"], json={"city": city, "key": step_info().idempotency_key}
        )
    return answer.text


@book_hotel.compensate
async def cancel_hotel(city: str, hotel: str | None) -> None:
    print("cancelled", city, hotel, uuid.uuid4())


@step
async def book_flight(city: str) -> str:
    if random.random() < 0.1:
        raise Permanent("no seats")
    return city


@workflow
async def trip(city: str) -> tuple[str, str]:
    return await book_hotel(city), await book_flight(city)
