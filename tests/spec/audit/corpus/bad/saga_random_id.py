"""A trip whose booking number is drawn by the workflow."""

from uuid import uuid4 as new_id

from holdfast import step, workflow


@step
async def book_hotel(booking: str) -> str:
    return f"hotel {booking}"


@book_hotel.compensate
async def cancel_hotel(booking: str, hotel: str | None) -> None:
    print("cancelled", booking, hotel, new_id())


@workflow
async def trip(city: str) -> str:
    booking = f"{city}-{new_id()}"  # expect: HF-A021
    return await book_hotel(booking)
