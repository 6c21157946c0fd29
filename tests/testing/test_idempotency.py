"""Steps that run again."""

from __future__ import annotations

import pytest

from holdfast import Depends, InvalidStep, step, step_info
from holdfast.testing import check_idempotent, override


class Bank:
    def __init__(self) -> None:
        self.paid: dict[str, int] = {}
        self.cents = 0

    def pay(self, key: str, cents: int) -> None:
        if key not in self.paid:
            self.paid[key] = cents
            self.cents += cents


def open_bank() -> Bank:
    return Bank()


@step(name="idempotent.pay")
async def pay(cents: int, bank: Bank = Depends(open_bank)) -> str:
    bank.pay(step_info().idempotency_key, cents)
    return "paid"


@step(name="idempotent.pay_again")
async def pay_again(cents: int, bank: Bank = Depends(open_bank)) -> str:
    bank.pay(f"{step_info().attempt}", cents)
    return "paid"


@step(name="idempotent.number")
def number() -> int:
    return step_info().attempt


async def test_a_step_that_uses_its_key_passes() -> None:
    bank = Bank()
    with override({open_bank: bank}):
        assert await check_idempotent(pay, 700, times=4, probe=lambda: bank.cents) == "paid"
    assert bank.cents == 700


async def test_another_effect_is_found_by_the_probe() -> None:
    bank = Bank()

    async def balance() -> int:
        return bank.cents

    with override({open_bank: bank}):
        await check_idempotent(pay_again, 700)
        bank.cents = 0
        bank.paid.clear()
        with pytest.raises(AssertionError, match="attempt 1 left 700, attempt 2 left 1400"):
            await check_idempotent(pay_again, 700, probe=balance)


async def test_another_result_is_found() -> None:
    with pytest.raises(AssertionError, match="attempt 1 returned 1, attempt 2 2"):
        await check_idempotent(number)


async def test_once_is_no_check_and_a_plain_function_no_step() -> None:
    with pytest.raises(ValueError, match="times=1"):
        await check_idempotent(number, times=1)

    async def plain() -> None: ...

    with pytest.raises(InvalidStep, match="is no step"):
        await check_idempotent(plain)
