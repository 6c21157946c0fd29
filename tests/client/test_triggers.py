"""Timed triggers on a real server: what they start, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleIntervalSpec, ScheduleSpec
from tests.engine.support import eventually

from holdfast import Client, Dag, InvalidInput, NotFound, Worker, step, wait_for, workflow
from holdfast.client.trigger_info import TriggerInfo
from holdfast.errors import Conflict
from holdfast.triggers import Calendar, Cron, Interval, OnEvent, Policy

SECOND = timedelta(seconds=1)
NEVER = Cron("0 0 1 1 * 2090")


@step
async def ct_double(number: int) -> int:
    return 2 * number


@workflow
async def ct_doubling(number: int, mark: str = "") -> int:
    return await ct_double(number)


@workflow
async def ct_waiting() -> str:
    return await wait_for("go", str)


ct_dag = Dag("ct-dag")


@ct_dag.step
async def ct_fetch(input: int) -> int:
    return input + 1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("triggers") / ".holdfast"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with Client.embedded(home) as made:
        yield made


async def ran(client: Client, name: str, count: int = 1) -> TriggerInfo:
    """Wait until a trigger has started so many runs."""

    async def look() -> TriggerInfo | None:
        found = await client.triggers.get(name)
        return found if len(found.last) >= count else None

    found: TriggerInfo = await eventually(look, 20)
    return found


async def memo(client: Client, run_id: str) -> dict[str, Any]:
    """All that was written down at the start of a run."""
    return dict(await (await client.temporal.get_workflow_handle(run_id).describe()).memo())


async def test_a_run_of_a_trigger_is_as_one_of_start(client: Client) -> None:
    made = await client.triggers.create(
        "doubling", ct_doubling, 4, on=Interval(SECOND), timeout=timedelta(minutes=2), priority=2
    )
    assert (made.kind, made.workflow, made.paused, made.owner) == ("interval", "ct_doubling", False, None)
    async with Worker(client, [ct_doubling]):
        (first, *_) = (await ran(client, "doubling")).last
        run = client.get(first.run_id, ct_doubling)
        assert await run.result(timeout=timedelta(seconds=20)) == 8
        started = await client.start(ct_doubling, 4, timeout=timedelta(minutes=2), priority=2)
        await started.result()
    await client.triggers.delete("doubling")
    theirs, ours = await started.describe(), await run.describe()
    assert run.id.startswith("trigger-doubling-20")
    assert (ours.trigger, theirs.trigger) == ("doubling", None)
    one, other = await memo(client, run.id), await memo(client, started.id)
    assert (one["holdfast.trigger"]["name"], one["holdfast.trigger"]["depth"]) == ("doubling", 0)
    del one["holdfast.trigger"]
    assert one == other
    assert ours.search_attributes["HoldfastPaused"] == theirs.search_attributes["HoldfastPaused"]
    assert [given.value for given in ours.input] == [4, ""]
    with pytest.raises(NotFound, match="'doubling'"):
        await client.triggers.get("doubling")


async def test_a_dag_is_started_with_the_document_of_now(client: Client) -> None:
    await client.triggers.create("dag", ct_dag, 1, on=NEVER, queue="default")
    async with Worker(client, [ct_doubling]):
        await client.triggers.fire("dag")
        (first,) = (await ran(client, "dag")).last
        assert await client.get(first.run_id).result() == 2
    assert (await client.get(first.run_id).describe()).workflow == "ct-dag"
    assert (await client.triggers.get("dag")).workflow == "ct-dag"


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "a/b", "ä", "-x", ".x", "x" * 129, "a\0b", "a\n", "'; DROP", "=1+1", 5, "a:b"]
)
async def test_hostile_names_are_refused(client: Client, name: Any) -> None:
    with pytest.raises(InvalidInput, match="trigger"):
        await client.triggers.create(name, ct_doubling, 1, on=NEVER)


async def test_what_does_not_fit_is_refused_as_by_start(client: Client) -> None:
    for args, options in (
        (("x",), {}),
        ((), {}),
        ((1, "a", 2), {}),
        ((1,), {"priority": 9}),
        ((1,), {"queue": ""}),
    ):
        with pytest.raises(InvalidInput) as by_start:
            await client.start(ct_doubling, *args, **options)  # pyright: ignore
        with pytest.raises(InvalidInput) as by_trigger:
            await client.triggers.create("wrong", ct_doubling, *args, on=NEVER, **options)  # pyright: ignore
        assert by_trigger.value.message == by_start.value.message
    with pytest.raises(InvalidInput, match="on="):
        await client.triggers.create("wrong", ct_doubling, 1, on="0 9 * * *")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="overlap="):
        Policy(overlap="queue")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="is no workflow"):
        await client.triggers.create("wrong", print, on=NEVER)  # type: ignore[arg-type] # pyright: ignore
    with pytest.raises(NotFound):
        await client.triggers.create("wrong", "no-such-definition", on=NEVER)
    with pytest.raises(NotFound):
        await client.triggers.get("wrong")


async def test_a_name_is_taken_once_and_replaced_on_demand(client: Client) -> None:
    await client.triggers.create("once", ct_doubling, 1, on=NEVER)
    with pytest.raises(Conflict, match="'once' exists already"):
        await client.triggers.create("once", ct_doubling, 1, on=NEVER)
    with pytest.raises(Conflict, match="goes by time"):
        await client.triggers.create("once", ct_doubling, on=OnEvent("workflow.failed"))
    await client.triggers.pause("once", "holidays")
    changed = await client.triggers.create(
        "once", ct_doubling, 2, on=Interval(timedelta(hours=1)), if_exists="replace"
    )
    assert (changed.kind, changed.paused, changed.note) == ("interval", True, "holidays")
    changed = await client.triggers.update("once", on=Cron("5 4 * * *"), policy=Policy(overlap="buffer_all"))
    assert (changed.on, changed.paused) == ("cron 5 4 * * * UTC".removeprefix("cron "), True)
    assert changed.policy is not None
    assert changed.policy.overlap == "buffer_all"
    with pytest.raises(InvalidInput, match="say what changes"):
        await client.triggers.update("once")
    with pytest.raises(InvalidInput, match="is one of kind cron"):
        await client.triggers.update("once", on=OnEvent("workflow.failed"))
    with pytest.raises(InvalidInput, match="overlap='none'"):
        await client.triggers.fire("once", overlap="none")  # type: ignore[arg-type]
    await client.triggers.resume("once", "back")
    assert not (await client.triggers.get("once")).paused
    for change in (
        client.triggers.pause,
        client.triggers.resume,
        client.triggers.delete,
        client.triggers.fire,
    ):
        with pytest.raises(NotFound, match="no trigger 'none'"):
            await change("none")


async def test_lists_have_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.client.trigger_backend._PAGE", 2)  # of the server's own pages
    names = [f"page-{number}" for number in range(5)]
    for name in names[1:]:
        await client.triggers.create(name, ct_doubling, 1, on=NEVER)
    await client.triggers.create(names[0], ct_doubling, on=OnEvent("x", input="payload"))

    async def listed() -> bool:
        found = await client.triggers.list()
        return [one.name for one in found if one.name.startswith("page-")] == names

    await eventually(listed)
    first = await client.triggers.list(limit=3, after="page-")
    rest = await client.triggers.list(limit=2, after=first[-1].name)
    assert [one.name for one in [*first, *rest]] == names
    assert [one.kind for one in first] == ["event", "cron", "cron"]
    with pytest.raises(InvalidInput, match="limit=0"):
        await client.triggers.list(limit=0)


async def test_a_schedule_that_somebody_else_made_is_shown(client: Client) -> None:
    action = ScheduleActionStartWorkflow("theirs", args=[], id="their run", task_queue="q")
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))])
    await client.temporal.create_schedule("their schedule", Schedule(action=action, spec=spec))

    async def look() -> Any:
        return [found for found in await client.triggers.list() if found.name == "their schedule"]

    (found,) = await eventually(look)
    assert (found.made_here, found.workflow, found.on, len(found.next)) == (
        False,
        "theirs",
        "every 1:00:00",
        5,
    )
    await client.triggers.delete("their schedule")


async def test_times_follow_the_clock_change(client: Client) -> None:
    # In Berlin clocks go from 2:00 to 3:00 on 28 March 2027, and from 3:00 to 2:00 on 31 October 2027.
    await client.triggers.create("berlin", ct_doubling, 1, on=Cron("30 9 * * *", timezone="Europe/Berlin"))
    spring, autumn = datetime(2027, 3, 27, tzinfo=UTC), datetime(2027, 10, 30, tzinfo=UTC)
    days = timedelta(days=2, hours=12)
    assert [t.hour for t in await client.triggers.times("berlin", spring, spring + days)] == [8, 7, 7]
    assert [t.hour for t in await client.triggers.times("berlin", autumn, autumn + days)] == [7, 8, 8]
    await client.triggers.update("berlin", on=Cron("30 2 * * *", timezone="Europe/Berlin"))
    found = await client.triggers.times("berlin", spring, spring + days)
    assert [(t.day, t.hour) for t in found] == [(27, 1), (29, 0)]  # 2:30 does not come on the 28th
    coming = Calendar(hour=12, timezone="Asia/Kathmandu", start=datetime(2040, 1, 1, tzinfo=UTC))
    made = await client.triggers.update("berlin", on=coming)
    assert [(t.year, t.day, t.hour, t.minute) for t in made.next[:2]] == [(2040, 1, 6, 15), (2040, 2, 6, 15)]


async def test_a_backfill_counts_before_it_starts(client: Client) -> None:
    await client.triggers.create("late", ct_doubling, 3, on=Interval(timedelta(minutes=1)), paused=True)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    end = start + timedelta(minutes=4)
    times = await client.triggers.times("late", start, end)
    assert [time.minute for time in times] == [0, 1, 2, 3, 4]
    with pytest.raises(InvalidInput, match="more than 3 times"):
        await client.triggers.backfill("late", start, end, max_count=3)
    with pytest.raises(InvalidInput, match="time zone"):
        await client.triggers.backfill("late", datetime(2026, 1, 1), end)
    with pytest.raises(InvalidInput, match="is before"):
        await client.triggers.times("late", end, start)
    assert await client.triggers.times("late", start, start + timedelta(days=30), limit=1500) != []
    async with Worker(client, [ct_doubling]):
        assert await client.triggers.backfill("late", start, end) == 5
        found = await ran(client, "late", 5)
        for run in found.last:
            assert await client.get(run.run_id).result(timeout=timedelta(seconds=20)) == 6
    assert {run.run_id for run in found.last} == {f"trigger-late-{t:%Y-%m-%dT%H:%M:%SZ}" for t in times}
    assert found.paused


@pytest.mark.parametrize(("overlap", "most"), [("skip", 1), ("buffer_one", 2)])
async def test_overlapping_runs(client: Client, overlap: Any, most: int) -> None:
    name = f"overlap-{overlap}"
    await client.triggers.create(name, ct_waiting, on=Interval(SECOND), policy=Policy(overlap=overlap))

    async def later() -> bool:
        now = await client.triggers.get(name)
        return now.next[0] > (first.due or now.next[0]) + timedelta(seconds=3)

    async with Worker(client, [ct_waiting]):
        (first,) = (await ran(client, name)).last
        await eventually(later, 30)  # further times have come, and the first run is open
        assert [run.run_id for run in (await client.triggers.get(name)).last] == [first.run_id]
        await client.triggers.update(name, on=NEVER)
        await client.get(first.run_id).send("go", "x")
        await client.get(first.run_id).result()
        found = await ran(client, name, most)
        assert len(found.last) == most
        for run in found.last[:-1]:
            await client.get(run.run_id).send("go", "x")


async def test_two_that_fire_do_not_run_twice_at_a_time(client: Client) -> None:
    await client.triggers.create("fired", ct_doubling, 1, on=NEVER)
    async with Worker(client, [ct_doubling]):
        await asyncio.gather(*(client.triggers.fire("fired", overlap="allow_all") for _ in range(3)))
        found = await ran(client, "fired", 1)
    assert len({run.run_id for run in found.last}) == len(found.last)
    with pytest.raises(InvalidInput, match="goes by time"):
        await client.triggers.fire("fired", {"a": 1})
