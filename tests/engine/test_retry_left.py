"""What a retried run did before and does not come to again: undone if it fails, told if it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, Run, RunFailed, RunState, Worker
from holdfast.engine.maps import mapper
from holdfast.indexer import Indexer

from . import retry_flows as flows
from .retry_flows import done, keys, mend
from .support import eventually, replay

BEFORE = ["old", "old1", "old2", "book0", "book1", "book2", "book3", "inside", "old"]


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper, "_ITEMS", 2)


async def waits(run: Run[Any]) -> None:
    await eventually(lambda: _waits(run), 30)


async def _waits(run: Run[Any]) -> bool:
    return any(wait.name == "end" for wait in (await run.describe()).waits)


async def charged(client: Client, ledger: str) -> Run[Any]:
    """A run that was terminated after it had charged the old way; it goes the new way from here."""
    run = await client.start(flows.again_branch, ledger)
    await waits(run)
    assert sorted(done(ledger)) == sorted(BEFORE)
    await run.terminate("the way was wrong")
    mend(ledger)
    return run


async def test_a_retry_that_fails_undoes_what_it_did_not_come_to(
    holdfast_client: Client, ledger: str
) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await charged(holdfast_client, ledger)
        await (await run.retry()).send("end", "fail")
        with pytest.raises(RunFailed) as raised:
            await run.result()
        assert "compensation failed" not in raised.value.message
        after = done(ledger)[len(BEFORE) :]
        # First what this execution did, then the rest, the last one first; what a child completed stays done.
        assert after[:3] == ["new", "refund-new", "refund-old"]
        assert sorted(after[3:7]) == ["unbook0", "unbook1", "unbook2", "unbook3"]
        assert sorted(after[7:]) == ["refund-old1", "refund-old2"]
        described = await run.describe()
        assert described.not_reached == ["again_do", "again_saved:1"]
        assert described.pending_compensations == []
        await replay(run, *flows.SERVED)
        plan = await run.preview_retry()
        assert (plan.not_reached, "again_charge" in plan.reused) == (["again_do", "again_saved:1"], False)
        mend(f"{ledger}.never")
        await run.retry()
        assert await run.result() == "new"
        assert done(ledger)[len(BEFORE) + len(after) :] == ["new"]
    assert len(set(keys(ledger, "new"))) == 2
    assert len(set(keys(ledger, "refund-old"))) == 1


async def test_a_retry_that_completes_says_what_it_did_not_come_to(tmp_path: Path, ledger: str) -> None:
    left = ["again_do", "again_charge", "again_charge #2", "again_book:0", "again_book:2"]
    async with Client.embedded(tmp_path / ".holdfast") as client, Worker(client, flows.SERVED):
        run = await charged(client, ledger)
        await run.retry()
        await waits(run)
        assert (await run.describe()).not_reached == []  # it may still come to them
        await run.terminate("to look at it")
        described = await run.describe()
        found = (await run.preview_retry()).not_reached
        assert sorted(found) == sorted([*left, "again_charge #3", "again_saved:1"])
        assert sorted(described.not_reached) == sorted(found)
        pending = set(described.pending_compensations)
        assert {"again_charge-1", "again_charge-2", "again_charge-3", ":again_book:0"} < pending
        await Indexer(client.temporal, await client.store.database()).catch_up()
        [letter] = await client.dead_letters.list()
        payload: Any = letter.payload
        assert set(payload["open_compensations"]) == pending
        await (await run.retry()).send("end", "well")
        assert await run.result() == "new"
        described = await run.describe()
        assert (described.state, described.pending_compensations) == (RunState.COMPLETED, [])
        assert "again_charge #3" in described.not_reached
        assert "not reached, done before" in str(described)
    assert not any(entry.startswith(("refund", "unbook")) for entry in done(ledger))


async def test_a_retry_of_a_fork_undoes_nothing_of_the_other_run(
    holdfast_client: Client, ledger: str
) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_branch, ledger)
        await waits(run)
        forked = await run.fork(id="again-forked-branch")
        await waits(forked)
        await forked.terminate()
        await (await forked.retry()).send("end", "fail")
        with pytest.raises(RunFailed):
            await forked.result()
        assert (await forked.describe()).pending_compensations == []
        await run.send("end", "well")
        assert await run.result() == "old"
    assert sorted(done(ledger)) == sorted(BEFORE)
