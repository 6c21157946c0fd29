"""Mocks of steps by object."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest
from pydantic import BaseModel

from holdfast import (
    Client,
    Depends,
    InvalidStep,
    Permanent,
    RetryPolicy,
    RunFailed,
    Step,
    Worker,
    step,
    step_info,
    workflow,
)
from holdfast.testing import StepMock, mock_step, mock_steps

QUICK = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=10), jitter=0)


class Receipt(BaseModel):
    id: str
    cents: int


def open_bank() -> str:
    raise AssertionError("a mocked step opens no dependency")


@step(retry=QUICK)
async def mocked_charge(order: str, cents: int, *, bank: str = Depends(open_bank)) -> Receipt:
    raise AssertionError("the step itself ran")


@mocked_charge.compensate
async def mocked_refund(order: str, cents: int, receipt: Receipt | None) -> None:
    raise AssertionError("the compensation itself ran")


@step(retry=QUICK)
def mocked_ship(order: str, *, express: bool = False) -> str:
    raise AssertionError("the step itself ran")


@step(local=True)
async def mocked_note(order: str) -> str:
    raise AssertionError("the step itself ran")


@step(process=True)
def mocked_count(order: str) -> int:
    raise AssertionError("the step itself ran")


@workflow
async def mocked_fulfil(order: str) -> str:
    receipt = await mocked_charge(order, 700)
    return f"{receipt.id} {await mocked_ship(order, express=True)}"


@workflow
async def mocked_others(order: str) -> str:
    return f"{await mocked_note(order)} {await mocked_count(order)}"


async def test_values_and_functions_take_the_place_of_steps(holdfast_client: Client) -> None:
    async def charge(order: str, cents: int) -> Receipt:
        return Receipt(id=f"r-{order}", cents=cents)

    with mock_steps({mocked_charge: charge, mocked_ship: "parcel"}) as mocks:
        async with Worker(holdfast_client, [mocked_fulfil]):
            assert await holdfast_client.run(mocked_fulfil, "1", id="one") == "r-1 parcel"
    assert [call.args for call in mocks[mocked_charge].calls] == [("1", 700)]
    (shipped,) = mocks[mocked_ship].calls
    assert (shipped.arguments, shipped.run_id, shipped.attempt) == (
        {"order": "1", "express": True},
        "one",
        1,
    )


async def test_a_worker_that_runs_already_uses_the_mock_until_it_ends(
    holdfast_client: Client, mock_step: Callable[[Step[..., Any], Any], StepMock]
) -> None:
    async with Worker(holdfast_client, [mocked_fulfil]):
        mock_step(mocked_charge, Receipt(id="r", cents=7))
        with mock_steps({mocked_ship: "first"}):
            assert await holdfast_client.run(mocked_fulfil, "1") == "r first"
        with mock_steps({mocked_ship: "second"}):
            assert await holdfast_client.run(mocked_fulfil, "1") == "r second"


async def test_local_steps_and_steps_in_processes_are_mocked_too(holdfast_client: Client) -> None:
    with mock_steps({mocked_note: "noted", mocked_count: 3}):
        async with Worker(holdfast_client, [mocked_others]):
            assert await holdfast_client.run(mocked_others, "1") == "noted 3"


async def test_an_exception_is_raised_and_retried_as_that_of_the_step(holdfast_client: Client) -> None:
    outcomes = {mocked_charge: ConnectionError("no line"), mocked_refund: None}
    async with Worker(holdfast_client, [mocked_fulfil]):
        with mock_steps(outcomes) as mocks, pytest.raises(RunFailed, match="ConnectionError: no line"):
            await holdfast_client.run(mocked_fulfil, "1")
        assert [call.attempt for call in mocks[mocked_charge].calls] == [1, 2, 3]
        assert [call.args for call in mocks[mocked_refund].calls] == [("1", 700, None)]
        with mock_steps({mocked_charge: Permanent("declined")}) as mocks, pytest.raises(RunFailed):
            await holdfast_client.run(mocked_fulfil, "2")
        assert len(mocks[mocked_charge].calls) == 1


async def test_a_mock_may_fail_at_first(holdfast_client: Client) -> None:
    def ship(order: str, *, express: bool) -> str:
        if step_info().attempt == 1:
            raise ConnectionError
        return f"{threading.current_thread() is threading.main_thread()}"

    with mock_steps({mocked_charge: Receipt(id="r", cents=7), mocked_ship: ship}):
        async with Worker(holdfast_client, [mocked_fulfil]):
            assert await holdfast_client.run(mocked_fulfil, "1") == "r False"


async def test_plain_calls_run_the_mock_too() -> None:
    ship = AsyncMock(return_value="parcel")
    with mock_steps({mocked_charge: Receipt(id="r", cents=7), mocked_ship: ship}) as mocks:
        assert await mocked_fulfil.fn("1") == "r parcel"
    ship.assert_awaited_once_with("1", express=True)
    assert mocks[mocked_charge].calls[0].run_id is None


async def test_one_step_is_mocked_with_its_types() -> None:
    with mock_step(mocked_ship, KeyError) as ship, pytest.raises(KeyError):
        await mocked_ship("1")
    assert ship.calls[0].arguments == {"order": "1", "express": False}


def test_a_function_that_does_not_take_the_arguments_is_refused() -> None:
    def ship(parcel: str) -> str:
        return parcel

    with pytest.raises(InvalidStep, match="express"), mock_steps({mocked_ship: ship}):
        pass


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(InvalidStep, match="neither a step"), mock_steps({"mocked_ship": 1}):
        pass
