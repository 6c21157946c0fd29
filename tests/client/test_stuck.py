"""Runs that do not move are listed with the reason, from Temporal and from the history alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.engine.support import eventually

from holdfast import Client, RetryPolicy, Worker, approval, step, wait_for, workflow
from holdfast.indexer import Indexer
from holdfast.states import RunState
from holdfast.store.waiting import stuck_runs
from holdfast.stuck import cause_of


@step(retry=RetryPolicy(first_delay=timedelta(minutes=10), max_delay=timedelta(minutes=10)))
async def flaky() -> None:
    raise ConnectionError("the shop is closed")


@workflow
async def retrying() -> None:
    await flaky()


@workflow
async def deciding() -> None:
    await approval("Ship it?")


@workflow
async def listening() -> None:
    await wait_for("payment", str)


@workflow(queue="nobody")
async def unserved() -> None: ...


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def test_each_cause_is_told_alike_by_both(client: Client) -> None:
    wanted = {
        "r": "backoff",
        "d": "approval",
        "l": "message",
        "p": "paused",
        "n": "no_worker",
    }
    async with Worker(client, [retrying, deciding, listening]):
        await client.start(retrying, id="r")
        await client.start(deciding, id="d")
        await client.start(listening, id="l")
        await (await client.start(listening, id="p")).pause("lunch", by="Ada")
        await client.start(unserved, id="n")

        from holdfast.client.stuck import told

        async def by_temporal() -> dict[str, str] | None:
            described = [await client.get(run).describe() for run in wanted]
            found = {run.id: told(run) for run in described}
            causes = {name: stuck.cause for name, stuck in found.items() if stuck is not None}
            return causes if len(causes) == len(wanted) else None

        assert await eventually(by_temporal, 60) == wanted
        database = await client.store.database()
        indexer = Indexer(client.temporal, database)

        async def by_history() -> dict[str, str] | None:
            await indexer.catch_up()
            found = await client.runs.stuck()
            assert found == sorted(found, key=lambda run: run.since)
            causes = {run.id: run.cause for run in found}
            return causes if causes == wanted else None

        assert await eventually(by_history, 60) == wanted
        found = {run.id: run for run in await client.store.read(stuck_runs)}
        assert "the shop is closed" in found["r"].why
        assert "nobody" in found["n"].why
        assert "lunch" in found["p"].why
        assert [run.id for run in await client.runs.stuck(workflow="deciding")] == ["d"]
        assert await client.runs.stuck(workflow="x' OR '1'='1") == []
        for run in wanted:
            await client.get(run).terminate()


@pytest.mark.parametrize(
    ("state", "stuck", "waiting_for", "cause"),
    [
        (
            RunState.STUCK,
            "the workflow's code no longer fits its history (non-determinism): x",
            None,
            "non_determinism",
        ),
        (RunState.STUCK, "a worker takes the run's workflow task and does not answer", None, "failing"),
        (RunState.RUNNING, None, "step charge-1 waits for its turn under a limit", "limit"),
        (RunState.RUNNING, None, "step charge runs since 10:00", None),
        (RunState.WAITING, None, "sleeps until 10:00", None),
        (RunState.PENDING, None, "waits for a worker to take it up", None),
    ],
)
def test_what_moves_or_sleeps_is_not_listed(
    state: RunState, stuck: str | None, waiting_for: str | None, cause: str | None
) -> None:
    assert cause_of(state, stuck, waiting_for) == cause
