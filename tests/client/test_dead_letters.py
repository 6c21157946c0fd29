"""What has failed for good is done again, or given up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.client.operation_flows import broken, index, serve, serving
from tests.engine.support import eventually
from tests.store.made import failed, shown

from holdfast import (
    Client,
    InvalidInput,
    RunFailed,
    RunState,
    Worker,
    approval,
    step,
    workflow,
)
from holdfast.client.description import Preview
from holdfast.engine.history import describe_run
from holdfast.store.dead_letters import add
from holdfast.store.writer import write_runs


@step
async def take_money(name: str) -> str:
    return name


@take_money.compensate
async def refund(name: str, paid: str | None) -> None: ...


@workflow
async def paying(name: str) -> None:
    await serve(name)
    await take_money(name)
    await approval("May it?")


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def settled(client: Client, letter: int, status: str) -> Any:
    async def look() -> Any:
        await index(client)
        found = await client.dead_letters.get(letter)
        return found if found.status == status else None

    return await eventually(look, 60)


async def test_dead_letters_are_redriven_and_discarded(client: Client) -> None:
    broken.clear()
    broken.update({"tea", "milk", "cake"})
    async with Worker(client, [serving]):
        for name in sorted(broken):
            with pytest.raises(RunFailed):
                await client.run(serving, name, id=f"dead-{name}")
        await index(client)
        pending = {letter.run_id: letter for letter in await client.dead_letters.list(status="pending")}
        assert len(pending) == 3
        cake, milk, tea = (pending[f"dead-{name}"] for name in ("cake", "milk", "tea"))

        # Still broken: it fails again, and is pending again.
        assert (await client.dead_letters.redrive(tea.id)).status == "retrying"
        assert (await settled(client, tea.id, "pending")).attempts == 1
        # Mended: the run goes on under its own id.
        broken.discard("tea")
        await client.dead_letters.redrive(tea.id, reason="mended", by="Ada")
        await settled(client, tea.id, "resolved")
        assert await client.get("dead-tea").result() == "tea"
        with pytest.raises(InvalidInput, match="resolved"):
            await client.dead_letters.redrive(tea.id)

        # Another input: another run.
        again = await client.dead_letters.redrive(milk.id, input="soy milk")
        assert again.redriven_as is not None
        assert await client.get(again.redriven_as).result() == "soy milk"
        await settled(client, milk.id, "resolved")

        # Many: what is pending. One run has been retried by hand in between, and completed.
        broken.clear()
        report = await client.dead_letters.redrive_many(workflow="serving", rate=50)
        assert (report.matched, report.done, report.failed) == (1, 1, 0)
        await settled(client, cake.id, "resolved")
    whats = [action.what for action in await client.runs.actions("dead-tea")]
    assert whats.count("redrive") == 2
    with pytest.raises(InvalidInput, match="rate"):
        await client.dead_letters.redrive_many(rate=0)


async def test_a_letter_never_forgets_its_run(client: Client) -> None:
    broken.clear()
    broken.update({"tea", "milk", "cream"})
    async with Worker(client, [serving]):
        for name in ("tea", "milk"):
            with pytest.raises(RunFailed):
                await client.run(serving, name, id=f"dead-{name}")
        await index(client)
        tea, milk = sorted(await client.dead_letters.list(), key=lambda letter: letter.id)

        # Refused: there is no other run, and the letter follows its own again.
        with pytest.raises(InvalidInput):
            await client.dead_letters.redrive(tea.id, input={"not": "a text"})
        assert (await client.dead_letters.get(tea.id)).redriven_as is None
        forked = await client.dead_letters.redrive(milk.id, input="cream")
        assert (await settled(client, milk.id, "pending")).error_message == milk.error_message
        broken.clear()
        for name in ("tea", "milk"):
            await client.get(f"dead-{name}").retry()
            assert await client.get(f"dead-{name}").result() == name

        # What has completed is not done again, by that run or by the other one, even before the indexer knows.
        with pytest.raises(InvalidInput, match=r"'dead-milk' is completed"):
            await client.dead_letters.redrive(milk.id)
        assert (await client.dead_letters.get(milk.id)).status == "resolved"
        assert await client.get(forked.redriven_as or "").status() is RunState.FAILED
        await settled(client, tea.id, "resolved")


async def test_a_letter_whose_run_temporal_has_deleted_is_started_anew(client: Client) -> None:
    broken.clear()
    await index(client)
    tea = failed("gone-tea", "no tea", workflow="serving", input=[shown('"tea"')])
    cut = failed(
        "gone-cut", "no", workflow="serving", input=[Preview(text='"te…', size_bytes=9999, complete=False)]
    )
    document = failed("gone-dag", "no", workflow="etl", dag=True)
    await client.store.call(write_runs, [tea, cut, document])
    letters = {letter.run_id: letter.id for letter in await client.dead_letters.list()}
    async with Worker(client, [serving]):
        again = await client.dead_letters.redrive(letters["gone-tea"])
        assert again.redriven_as is not None
        assert await client.get(again.redriven_as).result() == "tea"
        await settled(client, again.id, "resolved")
        with pytest.raises(InvalidInput, match="give the input"):
            await client.dead_letters.redrive(letters["gone-cut"])
        again = await client.dead_letters.redrive(letters["gone-cut"], input="milk")
        assert again.redriven_as is not None
        assert await client.get(again.redriven_as).result() == "milk"
    with pytest.raises(InvalidInput, match="document"):
        await client.dead_letters.redrive(letters["gone-dag"])
    assert (await client.dead_letters.get(letters["gone-dag"])).status == "pending"
    with pytest.raises(InvalidInput, match="say which"):
        await client.dead_letters.discard(letters["gone-dag"], "  ")
    done = await client.dead_letters.discard(letters["gone-dag"], "it's old", by="Ada")
    assert (done.status, done.reason) == ("abandoned", "it's old")
    with pytest.raises(InvalidInput, match="abandoned"):
        await client.dead_letters.redrive(letters["gone-dag"])
    assert [action.what for action in await client.runs.actions("gone-dag")] == ["discard"]


async def test_what_is_started_anew_has_the_limit_the_notes_and_the_priority_that_it_had(
    client: Client,
) -> None:
    broken.clear()
    broken.add("tea")
    async with Worker(client, [serving]):
        run = await client.start(
            serving, "tea", id="limited", timeout=timedelta(hours=3), priority=2, memo={"customer": "Ada"}
        )
        with pytest.raises(RunFailed):
            await run.result()
        await index(client)
        broken.clear()
        [known] = await client.dead_letters.list(run_id=run.id)
        # To delete it there takes a server half a minute: another run stands for it.
        kept = (known.payload or {})["begun_with"]
        gone = failed("gone", "no", workflow="serving", input=[shown('"tea"')], begun_with=kept)
        await client.store.call(write_runs, [gone])
        [letter] = await client.dead_letters.list(run_id="gone")
        again = client.get((await client.dead_letters.redrive(letter.id)).redriven_as or "", serving)
        assert await again.result() == "tea"
    started = (await again.history()).events[0].workflow_execution_started_event_attributes
    assert started.priority.priority_key == 2
    assert "HoldfastPaused" in started.search_attributes.indexed_fields
    memo = {name: json.loads(payload.data) for name, payload in started.memo.fields.items()}
    assert memo == {"customer": "Ada", "holdfast.spec": {"timeout": 10800.0}}


async def test_many_are_redriven_of_triggers_too_and_what_is_left_out_is_said(client: Client) -> None:
    await index(client)
    for kind in ("trigger", "compensation"):
        facts: dict[str, Any] = {"kind": kind, "error_type": "X", "error_message": "no", "identity": kind}
        await client.store.call(partial(add, payload={"trigger": "gone"}, **facts))
    report = await client.dead_letters.redrive_many()
    assert (report.matched, report.done, report.failed, report.left_out) == (1, 0, 1, 1)
    assert "trigger 'gone', which is not there any more" in report.problems[0]
    report = await client.dead_letters.redrive_many(kind="run")
    assert (report.matched, report.left_out) == (0, 2)


async def test_a_redrive_that_is_cancelled_leaves_the_letter_pending(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index(client)
    await client.store.call(
        write_runs, [failed("gone-tea", "no tea", workflow="serving", input=[shown('"tea"')])]
    )
    [letter] = await client.dead_letters.list()
    asked = asyncio.Event()

    async def hangs(*_: Any, **__: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(client.temporal, "start_workflow", hangs)
        task = asyncio.create_task(client.dead_letters.redrive(letter.id))
        await asked.wait()
        assert (await client.dead_letters.get(letter.id)).status == "retrying"
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    found = await client.dead_letters.get(letter.id)
    assert (found.status, found.reason) == ("pending", "redriving failed: CancelledError")
    async with Worker(client, [serving]):
        again = await client.dead_letters.redrive(letter.id)
        assert await client.get(again.redriven_as or "").result() == "tea"


async def test_a_terminated_run_is_a_dead_letter_for_what_nobody_has_undone(client: Client) -> None:
    broken.clear()
    async with Worker(client, [paying]):
        run = await client.start(paying, "tea", id="paid")

        async def waits() -> bool:
            return bool((await run.describe()).waits)

        await eventually(waits, 60)
        await run.terminate()
    # An indexer that has not imported the code knows it too, from the history alone.
    described = await describe_run(client.temporal, "paid", compensable=())
    assert described.pending_compensations == ["take_money-1"]
    await index(client)
    [letter] = await client.dead_letters.list()
    assert (letter.run_id, letter.error_type) == ("paid", "TerminatedError")
    assert letter.payload is not None
    assert letter.payload["open_compensations"] == ["take_money-1"]
