"""Each figure of `client.analytics` equals a slow recomputation from raw histories, of runs of random shapes.

`FAULTS=thorough` takes 2,000 runs, else 120; `FAULTS_SEED` plays a seed again.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.analytics import slowly
from tests.analytics.flows import Op, a_plan, an_op, dag, other_shape, shape
from tests.analytics.slowly import SlowRun

from holdfast import Client, HoldfastError, Run, RunClosed, RunState, Worker
from holdfast.indexer import Indexer
from holdfast.run_filter import RunFilter
from holdfast.store import step_sums
from holdfast.store.figures import By, Interval, StepFigures

COUNT = 2_000 if os.environ.get("FAULTS") == "thorough" else 120
DAGS = [dag("exact-one"), dag("exact-two")]
ENDINGS = ("send", "cancel", "terminate", "leave", "time out")


@pytest.fixture(scope="module")
def chance() -> random.Random:
    seed = int(os.environ.get("FAULTS_SEED") or time.time_ns() // 1_000_000)
    print(f"FAULTS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
async def client(tmp_path: Any) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def test_figures_equal_those_of_raw_histories(client: Client, chance: random.Random) -> None:
    async with (
        Worker(client, [shape, other_shape]),
        Worker(client, [shape, other_shape], queues=["exact-queue"]),
    ):
        await start_all(client, chance)
        executions, runs = await read_all(client)
        await check_all(client, executions, runs)


async def start_all(client: Client, chance: random.Random) -> None:
    """Start them, and bring each to its end; some stay open."""
    at_a_time = asyncio.Semaphore(20)
    plans = [(number, random.Random(chance.random())) for number in range(COUNT)]

    async def one(number: int, own: random.Random) -> None:
        async with at_a_time:
            await see_through(client, number, own)

    await asyncio.gather(*(one(*plan) for plan in plans))


async def see_through(client: Client, number: int, chance: random.Random) -> None:
    name = f"exact-{number}"
    kind = number % 10
    if kind == 0:  # one of each ending, then of each again
        ending = ENDINGS[number // 10 % len(ENDINGS)]
        plan = [
            *a_plan(chance, depth=1),
            Op(kind=chance.choice(["wait", "slow"]) if ending != "send" else "wait"),
        ]
        limit = timedelta(seconds=1) if ending == "time out" else None
        if ending == "leave":
            plan = [Op(kind="reserve"), Op(kind="wait")]
        run: Run[Any] = await client.start(shape, plan, id=name, timeout=limit)
        await end(run, ending)
        return
    if kind in (1, 2):
        given = {
            "first": an_op(chance, "work").model_dump(),
            "second": an_op(chance, "call").model_dump(),
            "items": [an_op(chance, "call").model_dump() for _ in range(chance.randrange(4))],
        }
        run = await client.start(DAGS[kind - 1], given, id=name)
    elif kind == 3:
        run = await client.start(shape, a_plan(chance), id=name, queue="exact-queue")
    else:
        run = await client.start(chance.choice([shape, other_shape]), a_plan(chance), id=name)
    await ended(run)


async def end(run: Run[Any], ending: str) -> None:
    with suppress(RunClosed):  # it may have failed by then, or have taken what seemed not to come through
        match ending:
            case "send":
                await run.send("go", True)
            case "cancel":
                await asyncio.sleep(0.3)
                await run.cancel()
            case "terminate":
                await asyncio.sleep(0.3)
                await run.terminate(reason="planned")
            case "leave":
                return
            case _:
                pass
    await ended(run)


async def ended(run: Run[Any]) -> None:
    with suppress(HoldfastError):  # many are planned to fail
        await run.result()


async def read_all(client: Client) -> tuple[list[SlowRun], list[SlowRun]]:
    """Wait until lists know all there is, and the index has read it; then read it the slow way."""
    indexer = Indexer(client.temporal, await client.store.database())
    async with asyncio.timeout(120):
        while True:
            await indexer.catch_up()
            executions, runs = await slowly.read(client.temporal)
            told = await client.analytics.summary()
            settled = all(run.closed or is_left(run) for run in runs)
            if (
                len(runs) >= COUNT
                and settled
                and told.total == len(runs)
                and told.open == sum(map(is_left, runs))
            ):
                return executions, runs
            await asyncio.sleep(0.5)


def is_left(run: SlowRun) -> bool:
    """Whether it is one of those that wait, and does."""
    return run.closed is None and [step.state for step in run.steps] == ["completed"]


async def check_all(client: Client, executions: Sequence[SlowRun], runs: Sequence[SlowRun]) -> None:
    starts = sorted(run.started for run in runs)
    first, middle, last = starts[0], starts[len(starts) // 3], starts[-len(starts) // 3]
    filters: list[tuple[dict[str, Any], Callable[[SlowRun], object]]] = [
        ({}, lambda run: True),
        ({"workflows": ["exact.shape"]}, lambda run: run.workflow == "exact.shape"),
        ({"workflows": ["exact-one", "exact-two"]}, lambda run: run.workflow in ("exact-one", "exact-two")),
        ({"states": ["failed", "timed_out"]}, lambda run: run.state in ("failed", "timed_out")),
        ({"open": True}, lambda run: run.closed is None),
        ({"error_type": "ValueError"}, lambda run: run.error == "ValueError"),
        ({"queues": ["exact-queue"]}, lambda run: run.queue == "exact-queue"),
        (
            {"dag": False, "open": False},
            lambda run: run.workflow not in ("exact-one", "exact-two") and run.closed,
        ),
        ({"text": "EXACT-1"}, lambda run: "exact-1" in run.id),
        ({"started_from": middle, "started_to": last}, lambda run: middle <= run.started < last),
        ({"started_from": first - timedelta(days=3)}, lambda run: True),
        ({"workflows": ["no such"]}, lambda run: False),
    ]
    assert {state.value for state in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED, RunState.TERMINATED,
                                      RunState.TIMED_OUT, RunState.WAITING)} == {run.state for run in runs}  # fmt: skip
    for wanted, fits in filters:
        chosen, kept = RunFilter(**wanted), [run for run in runs if fits(run)]
        told = (await client.analytics.summary(chosen)).to_dict()
        throughput = told.pop("throughput_per_hour")
        same(told, slowly.summary(kept), wanted)
        if "started_to" in wanted:
            closed = sum(run.closed is not None for run in kept)
            same(throughput, closed / ((last - middle) / timedelta(hours=1)), wanted)
        await check_groups(client, chosen, kept)
        await check_trends(client, chosen, kept)
        of_executions = wanted.keys() <= {"workflows", "started_from", "started_to"}
        calls = [step for run in (filter(fits, executions) if of_executions else kept) for step in run.steps]
        found = {(step.workflow, step.step): step.to_dict() for step in await all_steps(client, chosen)}
        for (workflow, name), figures in found.items():
            assert (figures.pop("workflow"), figures.pop("step")) == (workflow, name)
        same(found, slowly.steps(calls), wanted)
    compared = await client.analytics.compare(
        RunFilter(workflows=["exact.shape"]), RunFilter(workflows=["exact-one"])
    )
    assert compared.change["total"] == pytest.approx(compared.after.total / compared.before.total - 1)


async def all_steps(client: Client, chosen: RunFilter) -> list[StepFigures]:
    """The figures of steps; where there are so many runs that a sample was taken, which must say so, those of all."""
    found = await client.analytics.steps(chosen)
    sampled = {step.sampled for step in found} - {None}
    if sampled:
        assert len(sampled) == 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_sums, "SAMPLE_RUNS", 1_000_000)
            found = await client.analytics.steps(chosen)
    return found


async def check_groups(client: Client, chosen: RunFilter, runs: Sequence[SlowRun]) -> None:
    keys: dict[By, Callable[[SlowRun], str]] = {
        "workflow": lambda run: run.workflow,
        "version": lambda run: "",
        "queue": lambda run: run.queue,
        "error_type": lambda run: run.error or "",
    }
    for by, key in keys.items():
        told = {group.value: group.to_dict() for group in await client.analytics.by_value(by, chosen)}
        names = [name for group in told.values() for name in group if name != "value"]
        slow = {value: slowly.summary(part) for value, part in slowly.grouped(runs, key).items()}
        wanted = {
            value: {"value": value, **{name: part[name] for name in names}} for value, part in slow.items()
        }
        same(told, wanted, (chosen, by))


async def check_trends(client: Client, chosen: RunFilter, runs: Sequence[SlowRun]) -> None:
    def hour(run: SlowRun) -> datetime:
        return run.started.astimezone(UTC).replace(minute=0, second=0, microsecond=0)

    keys: dict[Interval, Callable[[SlowRun], Any]] = {
        "hour": lambda run: (hour(run).isoformat(), None, None),
        "day": lambda run: (hour(run).replace(hour=0).isoformat(), None, None),
        "heatmap": lambda run: (None, hour(run).weekday(), hour(run).hour),
    }
    for interval, key in keys.items():
        told = [point.to_dict() for point in await client.analytics.trends(chosen, interval=interval)]
        places = [(point.pop("start"), point.pop("weekday"), point.pop("hour")) for point in told]
        assert places == sorted(places, key=str)
        names = list(told[0]) if told else []
        slow = {place: slowly.summary(part) for place, part in slowly.grouped(runs, key).items()}
        wanted = {place: {name: part[name] for name in names} for place, part in slow.items()}
        same(dict(zip(places, told, strict=True)), wanted, (chosen, interval))


def same(told: Any, slow: Any, about: object) -> None:
    """Whole numbers and texts alike; other numbers but for the last bits of a division."""
    if isinstance(slow, dict):
        wanted: dict[Any, Any] = slow  # pyright: ignore[reportUnknownVariableType]
        assert told.keys() == wanted.keys(), about
        for key, value in wanted.items():
            same(told[key], value, (about, key))
    elif isinstance(slow, float):
        assert told == pytest.approx(slow, rel=1e-9, abs=1e-9), about
    else:
        assert told == slow, about
