"""What the type checkers accept as a compensation. Checked by mypy and pyright, both strict; never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=error

from __future__ import annotations

from datetime import timedelta

from holdfast import Depends, RetryPolicy, step


class Bank: ...


def open_bank() -> Bank:
    return Bank()


@step
async def charge(order: str, cents: int) -> bytes:
    return order.encode()


@charge.compensate
async def refund(order: str, cents: int, receipt: bytes | None) -> None: ...


@step
def reserve(item: str) -> int:
    return len(item)


@reserve.compensate
async def release(item: str, shelf: int | None) -> None: ...


@step
async def first(order: str) -> bytes:
    return order.encode()


@first.compensate  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def wrong_argument(order: int, receipt: bytes | None) -> None: ...


@first.compensate  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def wrong_result(order: str, receipt: int) -> None: ...


@first.compensate  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def without_result(order: str) -> None: ...


@first.compensate(retry="patient")
async def with_options(order: str, receipt: bytes | None) -> None: ...


@first.compensate
def sync(order: str, receipt: bytes | None) -> None: ...


@first.compensate(retry="patient")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def wrong_with_options(order: int, receipt: bytes | None) -> None: ...


async def again(order: str, receipt: bytes | None) -> None: ...


first.compensate(again, retry=RetryPolicy(max_attempts=3), timeout=timedelta(seconds=3))


@step
async def pay(order: str, bank: Bank = Depends(open_bank)) -> bytes:
    return order.encode()


# A limit: a dependency counts as a parameter here, though it is none of the compensation's at run time.
@pay.compensate  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
async def pay_back(order: str, receipt: bytes | None, bank: Bank = Depends(open_bank)) -> None: ...
