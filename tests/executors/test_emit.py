"""`emit`: events from run to run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Literal

import pytest

from holdfast import (
    AlreadyDecided,
    Client,
    Dag,
    InvalidConfiguration,
    InvalidInput,
    NotFound,
    RunClosed,
    RunFailed,
    Worker,
    approval,
    wait_for,
    workflow,
)
from holdfast.client.here import client_here
from holdfast.testing import ContractCheck, ExecutorCase, executor_contract
from holdfast_executors.emit import Emit, emit


class FakeRun:
    def __init__(self, id: str, sent: list[Any]) -> None:
        self.id, self.sent = id, sent

    async def send(self, name: str, value: Any, *, message_id: str) -> Literal["delivered"]:
        refused = {
            "nobody": NotFound("there is no run 'nobody'"),
            "ended": RunClosed("run 'ended' has ended"),
            "picky": InvalidInput("it waits for another type"),
            "decided": AlreadyDecided("'go' was decided before"),
        }
        if self.id in refused:
            raise refused[self.id]
        if self.id == "slow":
            await asyncio.sleep(30)
        self.sent.append((self.id, name, value, message_id))
        return "delivered"


class FakeClient:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def get(self, run: str) -> FakeRun:
        return FakeRun(run, self.sent)


CHECKS = executor_contract(
    Emit,
    good=[
        {"run": "order-42", "event": "paid", "payload": {"cents": 5}},
        ExecutorCase({"run": "order-42", "event": "paid"}, {"charge": {"cents": 5}}),
    ],
    bad=[
        {},
        {"run": "order-42"},
        {"run": "", "event": "paid"},
        {"run": "order-42", "event": "holdfast.pause"},
        {"run": "order-42", "event": "__temporal_reserved"},
        {"run": "nobody", "event": "paid"},
        {"run": "ended", "event": "paid"},
        {"run": "picky", "event": "paid"},
        {"run": "decided", "event": "go"},
    ],
    slow={"run": "slow", "event": "paid"},
    overrides={client_here: FakeClient()},
)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_it_keeps_the_contract(check: ContractCheck) -> None:
    check()


async def test_without_a_worker_it_says_what_it_needs() -> None:
    with pytest.raises(InvalidConfiguration, match="no worker is around"):
        await emit("order-42", "paid")


@workflow
async def waits_for_payments() -> list[Any]:
    return [await wait_for("paid", dict[str, Any], timeout=timedelta(days=2)) for _ in range(2)]


@workflow
async def pays(run: str) -> str:
    await emit(run, "paid", {"cents": 1})
    return (await emit(run, "paid", {"cents": 2})).sent


@workflow
async def asks() -> bool:
    first = (await approval("Go?", name="go", timeout=timedelta(days=2))).approved
    await wait_for("end", str, timeout=timedelta(days=2))
    return first


async def test_runs_tell_each_other_in_code(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [waits_for_payments, pays]):
        waiting = await holdfast_client.start(waits_for_payments)
        assert await holdfast_client.run(pays, waiting.id) == "delivered"
        assert await waiting.result() == [{"cents": 1}, {"cents": 2}]
        with pytest.raises(RunFailed, match="has ended"):
            await holdfast_client.run(pays, waiting.id)


async def test_runs_tell_each_other_in_dags(holdfast_client: Client) -> None:
    first, second = Dag("emitting"), Dag("waiting")
    second.add_wait("payment", "paid", timeout=timedelta(days=2))
    first.node("charge", executor="transform", config={"template": {"cents": "{{ input.cents }}"}})
    config = {"run": "{{ input.run }}", "event": "paid", "payload": "{{ charge }}"}
    first.node("tell", executor="emit", config=config)
    async with Worker(holdfast_client, []):
        waiting = await holdfast_client.start(second, None)
        sent = await holdfast_client.run(first, {"run": waiting.id, "cents": 7})
        assert sent in ({"sent": "delivered"}, {"sent": "queued"})
        assert await waiting.result() == {"cents": 7}


async def test_a_message_that_is_sent_again_under_its_id_is_taken_once(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [waits_for_payments]):
        run = await holdfast_client.start(waits_for_payments)
        for cents in (1, 1, 2):
            await run.send("paid", {"cents": cents}, message_id=f"message-{cents}")
        assert await run.result() == [{"cents": 1}, {"cents": 2}]


async def test_a_decision_that_is_sent_again_under_its_id_is_no_second_one(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [asks]):
        run = await holdfast_client.start(asks)
        for _ in range(2):
            assert await run.send("go", {"approved": True}, message_id="mine") == "delivered"
        with pytest.raises(AlreadyDecided):
            await run.send("go", {"approved": False})
        await run.send("end", "now")
        assert await run.result() is True
