"""Runs are found in the history and acted upon, one or many, and what was done is recorded."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.engine.support import eventually
from tests.store.made import failed, shown

from holdfast import (
    Client,
    InvalidInput,
    NotFound,
    Permanent,
    Run,
    RunFailed,
    RunState,
    Unavailable,
    Worker,
    approval,
    step,
    workflow,
)
from holdfast.client.bulk import BulkReport
from holdfast.client.description import Preview
from holdfast.engine.history import describe_run
from holdfast.indexer import Indexer
from holdfast.run_filter import RunFilter
from holdfast.store.bulks import Bulk, begin_bulk
from holdfast.store.dead_letters import add
from holdfast.store.writer import write_runs

broken: set[str] = set()
"""Names for which `serve` fails."""


@step
async def serve(name: str) -> str:
    if name in broken:
        raise Permanent(f"no {name} today")
    return name


@workflow
async def serving(name: str) -> str:
    return await serve(name)


@workflow
async def asking(name: str) -> str:
    return f"{name} {(await approval('May it?')).approved}"


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


async def index(client: Client) -> None:
    await Indexer(client.temporal, await client.store.database()).catch_up()


async def start(client: Client, count: int, prefix: str = "ask") -> None:
    """Runs that wait; no worker is needed for that."""
    for first in range(0, count, 50):
        names = [f"{prefix}-{number}" for number in range(first, min(first + 50, count))]
        await asyncio.gather(*(client.start(asking, name, id=name) for name in names))
    await index(client)


async def test_runs_are_searched_counted_and_grouped(client: Client) -> None:
    broken.clear()
    broken.update({"tea", "x' OR '1'='1"})
    async with Worker(client, [serving]):
        for number, name in enumerate(["tea", "x' OR '1'='1", "nul\x00 😀", "=SUM(A1)", "y" * 10_000]):
            try:
                await client.run(serving, name, id=f"s-{number}")
            except RunFailed:
                assert name in broken
    await index(client)
    assert await client.runs.count(RunFilter()) == 5
    page = await client.runs.search(RunFilter(states=["failed"]))  # type: ignore[list-item]
    assert [run.id for run in page.runs] == ["s-1", "s-0"]
    for text in ("x' OR '1'='1", "nul\\u0000", "nul\x00", "😀", "=SUM(A1)", "yyyy"):
        assert await client.runs.count(RunFilter(text=text)) == 1, text
    for text in ("%", "' OR 1=1 --", '" OR "', "NEAR(", "z" * 10_000):
        assert await client.runs.count(RunFilter(text=text)) == 0, text
    first = await client.runs.search(limit=3)
    rest = await client.runs.search(limit=3, after=first.next)
    assert [run.id for run in [*first.runs, *rest.runs]] == ["s-4", "s-3", "s-2", "s-1", "s-0"]
    assert rest.next is None
    [group] = await client.runs.facets("error_type", RunFilter(workflows=["serving"]))
    assert (group.count, group.latest.id) == (2, "s-1")
    kinds = await client.runs.facets("fingerprint")
    assert [await client.runs.count(RunFilter(fingerprint=kind.value)) for kind in kinds] == [1, 1]
    with pytest.raises(InvalidInput, match="use one of"):
        await client.runs.facets("key")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="next"):
        await client.runs.search(after="1; DROP TABLE runs")
    with pytest.raises(InvalidInput, match="a text"):
        RunFilter(workflows="serving")
    with pytest.raises(InvalidInput, match="bogus"):
        RunFilter(states=["bogus"])  # type: ignore[list-item]
    stored = await client.runs.stored("s-0")
    assert (stored.state, [step.name for step in stored.steps]) == (RunState.FAILED, ["serve"])
    with pytest.raises(NotFound):
        await client.runs.stored("x' OR '1'='1")


async def test_each_action_is_recorded(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    await start(client, 2)
    run: Run[str] = client.get("ask-0")
    await run.pause("to look", by="Ada")
    await run.resume(by="Ada")
    await run.terminate('it\'s "enough"; DROP TABLE audit_log\x00')
    with pytest.raises(Exception, match="ended"):
        await run.cancel("too late", by="Bob")
    told = [(action.what, action.who, action.why) for action in await client.runs.actions("ask-0")]
    assert told[0][:2] == ("cancel", "Bob")
    assert told[1][0] == "terminate"
    assert "@" in told[1][1]
    assert told[1][2] == 'it\'s "enough"; DROP TABLE audit_log\x00'
    assert told[2:] == [("resume", "Ada", ""), ("pause", "Ada", "to look")]
    [failed, *_] = await client.runs.actions(by="Bob")
    assert failed.result.startswith("failed: ")
    assert [action.what for action in await client.runs.actions(what="pause")] == ["pause"]
    # The history is away: the action is done, and somebody is told.
    database = await client.store.database()
    with caplog.at_level(logging.WARNING, "holdfast.actions"), database.write():
        await client.get("ask-1").terminate()
    assert "may not be in the record" in caplog.text
    assert await client.get("ask-1").status() is RunState.TERMINATED


async def test_without_a_history_actions_are_just_done() -> None:
    async with Client.embedded(None) as client:
        run = await client.start(asking, "x")
        await run.terminate()
        assert await run.status() is RunState.TERMINATED
        with pytest.raises(Unavailable, match="holdfast indexer"):
            await client.runs.actions()


async def test_a_bulk_is_previewed_and_capped(client: Client) -> None:
    await start(client, 12)
    chosen = RunFilter(workflows=["asking"])
    preview = await client.runs.bulk("cancel", chosen, dry_run=True)
    assert (preview.matched, len(preview.examples), preview.id) == (12, 10, None)
    with pytest.raises(InvalidInput, match="12 runs fit"):
        await client.runs.bulk("cancel", chosen, max_runs=11)
    assert await client.runs.actions() == []
    with pytest.raises(InvalidInput, match="use one of"):
        await client.runs.bulk("explode", chosen)  # type: ignore[arg-type]
    report = await client.runs.bulk("pause", RunFilter(text="ask-1"), reason="lunch", by="Ada")
    assert (report.matched, report.done, report.failed, report.finished) == (3, 3, 0, True)
    [action] = await client.runs.actions("ask-11")
    assert (action.what, action.who, action.why) == ("pause", "Ada", "lunch")
    assert [action.what for action in await client.runs.actions(by="Ada", what="bulk pause")] == [
        "bulk pause"
    ]


async def test_a_bulk_that_was_interrupted_goes_on(client: Client) -> None:
    await start(client, 250)
    last: list[BulkReport] = []
    enough = asyncio.Event()

    def progress(report: BulkReport) -> None:
        last.append(report)
        if report.done >= 120:
            enough.set()

    chosen = RunFilter(workflows=["asking"])
    working = asyncio.create_task(client.runs.bulk("terminate", chosen, reason="over", progress=progress))
    await enough.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    bulk_id = last[-1].id
    assert bulk_id is not None
    [noted] = await client.runs.actions(what="bulk terminate")
    told = re.match(r"not finished: (\d+) done", noted.result)
    assert told is not None
    assert int(told[1]) >= 120  # also what was done of the chunk in which it was interrupted
    assert len(await client.runs.actions(what="terminate", limit=500)) == int(told[1])
    await index(client)
    report = await client.runs.continue_bulk(bulk_id)
    assert report.finished
    assert report.failed == 0
    assert report.done + report.skipped == report.matched == 250
    assert report.skipped < 100

    async def none_left() -> bool:  # visibility lags
        return await client.runs.count(open=True) == 0

    await eventually(none_left)
    assert (await client.runs.continue_bulk(bulk_id)).to_dict() == report.to_dict()
    with pytest.raises(NotFound):
        await client.runs.continue_bulk(bulk_id + 10_000)


async def test_what_a_killed_bulk_has_done_is_not_recorded_as_failed(client: Client) -> None:
    await start(client, 3)
    chosen = [await client.runs.stored(f"ask-{number}") for number in range(3)]
    doing = [[run.id, run.execution_id] for run in chosen]
    facts: dict[str, Any] = {"reason": "over", "by": "Ada", "matched": 3, "max_runs": 9, "filter": {}}
    # Killed within a chunk, when one was done: nothing but the chunk is noted.
    killed = await client.store.call(begin_bulk, Bulk(action="terminate", doing=doing, **facts))
    await client.temporal.get_workflow_handle("ask-0").terminate()
    report = await client.runs.continue_bulk(killed.id)
    assert (report.done, report.failed, report.skipped) == (2, 0, 1)
    done = await client.runs.actions(what="terminate")
    assert sorted((action.run_id, action.who, action.result.partition(":")[0]) for action in done) == [
        ("ask-0", "Ada", "skipped"),
        ("ask-1", "Ada", "done"),
        ("ask-2", "Ada", "done"),
    ]
    [skipped] = await client.runs.actions("ask-0")
    assert skipped.result.endswith(f"bulk operation {killed.id} may have done it before it was interrupted")
    # The same where a retry has made another execution.
    killed = await client.store.call(begin_bulk, Bulk(action="retry", doing=doing[:1], **facts))
    await client.get("ask-0").retry(by="Ada")
    report = await client.runs.continue_bulk(killed.id)
    assert (report.failed, report.skipped) == (0, 1)
    assert [
        action.result.partition(":")[0] for action in await client.runs.actions("ask-0", what="retry")
    ] == [
        "skipped",
        "done",
    ]


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
