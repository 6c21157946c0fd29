"""A retry goes on under the same id, a fork in another run: a ledger that steps append to shows which ran again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from holdfast import (
    AlreadyStarted,
    Client,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    Run,
    RunFailed,
    RunState,
    StepState,
    Worker,
)
from holdfast.authoring.waits import Decision
from holdfast.client import again
from holdfast.engine.data.converter import make_data_converter
from holdfast.engine.parts import Parts

from . import retry_flows as flows
from .retry_flows import done, keys, mend
from .support import eventually, replay


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


async def fail(run: Run[Any]) -> None:
    with pytest.raises(RunFailed):
        await run.result()


async def test_a_retry_runs_again_what_was_not_done(holdfast_client: Client, ledger: str) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_chain, ledger)
        await fail(run)
        assert sorted(done(ledger)) == ["a", "b", "c", "x1", "x2", "y1", "y2"]
        plan = await run.preview_retry()
        assert (sorted(plan.reused), plan.runs_again, plan.compensated) == (
            ["again_do", "again_do #2", "again_do #3", "again_do #4", "again_do #5", "again_local"],
            ["again_broken"],
            [],
        )
        mend(ledger)
        assert await run.retry(by="ada", reason="mended") is run
        assert await run.result() == ["did a", "did b", "did x2", "did y2", "did c"]
        assert done(ledger)[7:] == ["c"]
        described = await run.describe()
        origin = described.origin
        assert origin is not None
        assert (origin.kind, origin.run, origin.by, origin.reason) == ("retry", run.id, "ada", "mended")
        reused = [step for step in described.steps if step.reused_from]
        assert {step.reused_from for step in reused} == {origin.execution_id}
        assert len(reused) == 6
        assert {step.state for step in described.steps} == {StepState.COMPLETED}
        assert [step.name for step in described.steps if not step.reused_from] == ["again_broken"]
        assert "again_local: completed, reused from an earlier execution" in str(described)
        # Nobody knows whether the provider has heard of it: the key is the same.
        assert len(set(keys(ledger, "c"))) == 1
        await replay(run, *flows.SERVED)


async def test_what_was_compensated_runs_again_under_another_key(
    holdfast_client: Client, ledger: str
) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_saga, ledger)
        await fail(run)
        assert done(ledger) == ["first", "charge", "ship", "refund-charge"]
        plan = await run.preview_retry()
        assert (plan.reused, plan.runs_again, plan.compensated) == (
            ["again_do"],
            ["again_unknown"],
            ["again_charge"],
        )
        await run.retry()
        await fail(run)
        assert done(ledger)[4:] == ["charge", "ship", "refund-charge"]
        mend(ledger)
        await run.retry()
        assert await run.result() == "shipped"
        assert done(ledger)[7:] == ["charge", "ship"]
    assert len(set(keys(ledger, "charge"))) == 3
    assert len(set(keys(ledger, "refund-charge"))) == 2
    assert len(set(keys(ledger, "ship"))) == 1


async def test_what_may_have_been_undone_is_for_a_person_to_say(holdfast_client: Client, ledger: str) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_lost, ledger)
        await fail(run)
        with pytest.raises(
            InvalidInput, match=r"begun to undo again_charge-1, and how that ended is not known"
        ):
            await run.retry()
        mend(ledger)
        assert await (await run.fork()).result() is None
        assert done(ledger) == ["lost", "c", "refund-lost", "c"]
        assert await (await run.fork(from_step="again_charge")).result() is None
        assert done(ledger)[4:] == ["lost", "c"]


async def test_decisions_and_messages_are_not_asked_for_again(holdfast_client: Client, ledger: str) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_waits, ledger)
        await run.send("colour", "blue")
        await eventually(lambda: _waits(run))
        await run.send("ship-it", Decision(approved=True))
        await fail(run)
        assert (await run.preview_retry()).messages == ["colour", "ship-it"]
        mend(ledger)
        await run.retry()
        assert await run.result() == ["blue", "True", "did c"]


async def _waits(run: Run[Any]) -> bool:
    return any(wait.name == "ship-it" for wait in (await run.describe()).waits)


async def test_children_go_on_too(holdfast_client: Client, ledger: str) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_family, ledger)
        await fail(run)
        before = done(ledger)
        assert sorted(before) == ["bad1", "bad2", "fine1", "good1"]
        mend(ledger)
        await eventually(lambda: _closed(run))
        await run.retry()
        assert await run.result() == ["good", "fine", "bad"]
        again = done(ledger)[4:]
    assert "good1" not in again
    assert "bad1" not in again
    assert "bad2" in again
    assert len(set(keys(ledger, "bad2"))) == 1


async def _closed(run: Run[Any]) -> bool:
    return (await run.status()).closed


async def test_a_continued_run_goes_on_from_all_of_its_executions(
    holdfast_client: Client, ledger: str
) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_continued, ledger)
        await fail(run)
        assert done(ledger) == ["n0", "n1", "n2", "c"]
        mend(ledger)
        await run.retry()
        assert await run.result() == "did c"
        assert done(ledger)[4:] == ["c"]


async def test_items_of_maps_go_on_in_child_runs(holdfast_client: Client, ledger: str) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_mapped, ledger, 310)
        await fail(run)
        before = done(ledger)
        mend(ledger)
        await run.retry()
        assert await run.result() == [str(n) for n in range(310)]
    completed = {entry for entry in before if not entry.endswith("07") and entry != "item7"}
    after = done(ledger)[len(before) :]
    cut = completed & set(after)
    assert len(cut) <= 50  # what was under way when an item failed
    assert "item7" in after


async def test_a_dag_goes_on_with_its_nodes_and_items(holdfast_client: Client, ledger: str) -> None:
    dag = flows.again_dag()
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(dag, ledger)
        await fail(run)
        before = done(ledger)
        mend(ledger)
        await run.retry()
        assert await run.result() == 10
        again = done(ledger)[len(before) :]
        assert "fetch" not in again
        assert set(again) - {"beside"} >= {"item7", "store"}
        assert len(set(keys(ledger, "item7"))) == 1
        assert "enrich \u00d710" in await run.diagram()
        count = len(done(ledger))
        forked = await run.fork(from_step="beside", id="again-forked")
        assert await forked.result() == 10
        assert done(ledger)[count:] == ["beside", "store"]


async def test_two_retries_at_once(holdfast_client: Client, ledger: str) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_saga, ledger)
        await fail(run)
        mend(ledger)
        found = await asyncio.gather(*[run.retry() for _ in range(4)], return_exceptions=True)
        assert sorted(type(one).__name__ for one in found) == ["AlreadyStarted"] * 3 + ["Run"]
        await run.result()
        assert done(ledger).count("charge") == 2


async def test_what_cannot_be_retried(holdfast_client: Client, ledger: str) -> None:
    mend(ledger)
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_saga, ledger)
        await run.result()
        with pytest.raises(InvalidInput, match="has completed: nothing to retry; use `fork`"):
            await run.retry()
        waiting = await holdfast_client.start(flows.again_slow, ledger)
        with pytest.raises(AlreadyStarted, match="is open"):
            await waiting.retry()
        with pytest.raises(NotFound):
            await holdfast_client.get("nobody-knows-it").retry()
        other = f"{ledger}-other"
        forgetful = await holdfast_client.start(flows.again_forgetful, other)
        await fail(forgetful)
        with pytest.raises(InvalidInput, match=r"Use `holdfast\.continue_as_new`"):
            await forgetful.retry()
        family = await holdfast_client.start(flows.again_family, other)
        await fail(family)
        child: Run[Any] = holdfast_client.get(f"{family.id}:again_child:1")
        with pytest.raises(InvalidInput, match="is a child of"):
            await child.retry()


async def test_a_fork_leaves_a_running_run_alone(holdfast_client: Client, ledger: str) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_slow, ledger)
        await eventually(lambda: _waiting(run))
        with pytest.raises(
            NotFound, match="has never begun step 'again_do#3'; it has begun: again_do, again_do #2"
        ):
            await run.fork(from_step="again_do#3")
        forked = await run.fork(from_step="again_do#2")
        assert forked.id != run.id
        await eventually(lambda: _waiting(forked))
        assert done(ledger) == ["a", "b", "b"]
        await forked.send("go", "now")
        assert await forked.result() == "gone"
        assert await run.status() is RunState.WAITING
        await run.send("go", "later")
        assert await run.result() == "gone"
    assert done(ledger) == ["a", "b", "b", "c", "c"]
    assert len(set(keys(ledger, "b") + keys(ledger, "c"))) == 4


async def _waiting(run: Run[Any]) -> bool:
    return await run.status() is RunState.WAITING


async def test_a_step_with_other_arguments_runs_again(holdfast_client: Client, ledger: str) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_input, ledger, "old")
        await fail(run)
        mend(ledger)
        forked = await run.fork(input=[ledger, "new"])
        assert await forked.result() == "did c"
        assert done(ledger) == ["same", "old", "c", "new", "c"]
        described = await forked.describe()
        changed = described.step("again_do", 2)
        assert changed is not None
        assert changed.rerun == "its arguments changed"
        assert "again_do #2: completed" in str(described)
        assert "rerun because its arguments changed" in str(described)


async def test_a_killed_worker_does_not_make_given_steps_run_again(
    holdfast_client: Client, ledger: str
) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_slow, ledger)
        await eventually(lambda: _waiting(run))
        await run.terminate("by mistake")
    await run.retry()
    command = [sys.executable, str(Path(flows.__file__)), holdfast_client.address, holdfast_client.namespace]
    worker = await asyncio.create_subprocess_exec(*command)
    try:
        await eventually(lambda: _waiting(run), 30)
    finally:
        worker.kill()  # SIGKILL
        await worker.wait()
    async with Worker(holdfast_client, flows.SERVED):
        await run.send("go", "now")
        assert await run.result() == "gone"
        await replay(run, *flows.SERVED)
    assert done(ledger) == ["a", "b", "c"]


async def test_large_results_go_through_the_storage(tmp_path: Path, ledger: str) -> None:
    async with Client.embedded(tmp_path / ".holdfast") as client, Worker(client, flows.SERVED):
        run = await client.start(flows.again_large, ledger, 40)
        await fail(run)
        mend(ledger)
        await run.retry()
        assert await run.result() == 40 * 100_000
        assert done(ledger) == ["large"] * 40 + ["c", "c"]
        described = await run.describe()
        assert len([step for step in described.steps if step.reused_from]) == 40
        # One note for all 40: the run costs a few events more than one that has nothing to do but the last step.
        assert described.history_event_count < 20


async def test_results_and_messages_count_together(
    holdfast_client: Client, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_waits, ledger)
        await run.send("colour", "b" * 60_000)
        await eventually(lambda: _waits(run))
        await run.send("ship-it", Decision(approved=True))
        await fail(run)
        events = (await run.describe()).history_event_count
        monkeypatch.setattr(again, "MEMO_BYTES", 100_000)
        monkeypatch.setattr(again, "LIMIT_BYTES", 100_000)
        with pytest.raises(PayloadTooLarge, match=r"together \(.*messages 0\.1 MiB"):
            await run.retry()
        assert (await run.describe()).history_event_count == events  # nothing has begun


async def test_what_a_retry_was_given_lasts_over_continue_as_new(
    holdfast_client: Client, ledger: str
) -> None:
    """The first retry ends after its first continuation; the second one is given all the same."""
    async with Worker(holdfast_client, flows.SERVED):
        run = await holdfast_client.start(flows.again_continued, ledger)
        await fail(run)
        await run.retry()
        await fail(run)
        mend(ledger)
        await run.retry()
        assert await run.result() == "did c"
        await replay(run, *flows.SERVED)
    assert done(ledger) == ["n0", "n1", "n2", "c", "c", "c"]


@pytest.mark.parametrize("name", ["chain", "saga", "family", "dag"])
async def test_recorded_histories_of_retried_runs_replay(name: str) -> None:
    """As `record_retried` recorded them."""
    parts = Parts(flows.SERVED)
    recorded = (Path(__file__).parents[1] / "histories" / "retried" / f"{name}.json").read_text()
    replayer = Replayer(
        workflows=parts.classes, workflow_runner=parts.runner, data_converter=make_data_converter()
    )
    replayed = await replayer.replay_workflow(WorkflowHistory.from_json(name, recorded))
    assert replayed.replay_failure is None
