"""Workflow code as the user writes it: parameters, results, time, chance, imports, and what is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

import pytest
from pydantic import BaseModel

import holdfast
from holdfast import (
    Client,
    InvalidInput,
    NotInWorkflow,
    RunFailed,
    RunState,
    StepFailed,
    Worker,
    step,
    workflow,
)

from .support import eventually, replay, until

T = TypeVar("T")
LOG: list[Any] = []


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Wheel(BaseModel):
    size: int


class Car(BaseModel):
    colour: Colour
    wheels: list[Wheel]
    price: Decimal = Decimal("9.99")


@dataclass
class Owner:
    name: str
    born: datetime
    cars: list[Car] = field(default_factory=list)


class Page(BaseModel, Generic[T]):
    items: list[T]


@step
async def rt_paint(car: Car, colour: Colour) -> Car:
    assert isinstance(car, Car)
    return car.model_copy(update={"colour": colour})


@step
async def rt_owner(owner: Owner) -> Owner:
    assert isinstance(owner, Owner)
    return owner


@step
def rt_page(page: Page[Car]) -> Page[Car]:
    return page


@workflow
async def rt_everything(
    car: Car,
    owner: Owner,
    page: Page[Car],
    when: datetime,
    ids: dict[str, set[int]],
    pair: tuple[int, str],
    mode: Literal["a", "b"] = "a",
    maybe: int | None = None,
    *,
    extra: str = "none",
) -> list[Any]:
    painted = await rt_paint(car, Colour.BLUE)
    same = await rt_owner(owner)
    again = await rt_page(page)
    return [
        isinstance(car, Car) and isinstance(car.wheels[0], Wheel),
        isinstance(painted, Car) and painted.colour is Colour.BLUE,
        isinstance(same, Owner) and isinstance(same.cars[0], Car),
        isinstance(again.items[0], Car),
        when.tzinfo is not None,
        ids["x"] == {1, 2},
        pair == (1, "one"),
        mode,
        maybe,
        extra,
    ]


@workflow
async def rt_result() -> Page[Car]:
    return Page[Car](items=[Car(colour=Colour.RED, wheels=[Wheel(size=3)])])


@workflow
async def rt_time_and_chance() -> list[Any]:
    before = holdfast.now()
    await asyncio.sleep(3600)
    return [
        (holdfast.now() - before) >= timedelta(hours=1),
        before.tzinfo is UTC or before.utcoffset() == timedelta(0),
        str(holdfast.uuid4()),
        holdfast.random().random(),
        holdfast.random().choice([1, 2, 3]),
    ]


@workflow
async def rt_refused(what: str) -> str:
    match what:
        case "random":
            return str(random.random())
        case "time":
            return str(time.time())
        case "sleep":
            time.sleep(1)  # noqa: ASYNC251 - that is what is refused
        case "now":
            return str(dt.datetime.now())
        case "uuid":
            return str(uuid.uuid4())
        case "open":
            with open("/etc/hostname") as file:  # noqa: ASYNC230 - that is what is refused
                return file.read()
        case "key":
            return {"a": "b"}["x"]
        case "exit":
            sys.exit(3)
        case "type":
            return 5  # type: ignore[return-value]
        case "argument":
            return str(await rt_paint("no car", Colour.RED))  # type: ignore[arg-type]
        case "missing":
            return str(await rt_paint())  # type: ignore[call-arg]
        case "thing":
            return str(await rt_paint(object(), Colour.RED))  # type: ignore[arg-type]
        case "assert":
            assert what == "x", "that was wrong"
    return "nothing"


@workflow
async def rt_imports() -> str:
    import json

    from holdfast.options import MINUTE

    return json.dumps(MINUTE.total_seconds())


@workflow
async def rt_simple(number: int, text: str = "t") -> str:
    return text * number


@step(name="rt_bad_result")
async def rt_bad_result() -> int:
    return "many"  # type: ignore[return-value]


@workflow
async def rt_bad() -> int:
    try:
        return await rt_bad_result()
    except StepFailed as exc:
        raise RuntimeError(f"{exc.step} {exc.error_type} {exc.attempts}") from exc


@step
async def rt_mark(name: str) -> str:
    LOG.append(name)
    return name


@step
async def rt_slow_mark(name: str) -> None:
    LOG.append(name)
    await asyncio.sleep(0.1)


@workflow
async def rt_patched() -> str:
    if holdfast.patched("new-way"):
        return await rt_mark("new")
    return await rt_mark("old")


@workflow
async def rt_pausable(count: int) -> int:
    for number in range(count):
        await rt_slow_mark(str(number))
    return count


@workflow
async def rt_timeout_in_code() -> str:
    try:
        async with asyncio.timeout(1):
            await rt_forever()
    except TimeoutError:
        return "too slow"
    return "?"


@step
async def rt_forever() -> None:
    await asyncio.sleep(1000)


@workflow
async def rt_tasks() -> list[str]:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def produce() -> None:
        for name in ("a", "b"):
            await queue.put(await rt_mark(name))

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        first = await queue.get()
    return [first, await queue.get()]


async def test_every_kind_of_parameter_arrives_as_its_type(holdfast_client: Client) -> None:
    car = Car(colour=Colour.RED, wheels=[Wheel(size=3)])
    owner = Owner(name="Ada", born=datetime(1815, 12, 10, tzinfo=UTC), cars=[car])
    async with Worker(holdfast_client, [rt_everything]):
        run = await holdfast_client.start(
            rt_everything, car, owner, Page[Car](items=[car]), owner.born, {"x": {1, 2}}, (1, "one")
        )
        assert await run.result() == [True] * 7 + ["a", None, "none"]
        await replay(run, rt_everything)


async def test_a_result_has_its_declared_type(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [rt_result]):
        run = await holdfast_client.start(rt_result)
        page = await run.result()
        assert isinstance(page, Page)
        assert isinstance(page.items[0], Car)
        assert isinstance(await holdfast_client.get(run.id, rt_result).result(), Page)
        assert await holdfast_client.get(run.id).result() == page.model_dump(mode="json")


async def test_time_and_chance_are_the_same_at_every_replay(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [rt_time_and_chance], max_cached_runs=0):
        run = await holdfast_client.start(rt_time_and_chance)
        result = await run.result()
        assert result[:2] == [True, True]
        await replay(run, rt_time_and_chance)
        assert (await holdfast_client.run(rt_time_and_chance))[2:4] != result[2:4]


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("random", "NonDeterministic", r"random\.random .*use holdfast\.random\(\)"),
        ("time", "NonDeterministic", r"time\.time .*use holdfast\.now\(\)"),
        ("sleep", "NonDeterministic", r"time\.sleep .*use await asyncio\.sleep"),
        ("now", "NonDeterministic", r"datetime\.datetime\.now .*use holdfast\.now\(\)"),
        ("uuid", "NonDeterministic", r"uuid\.uuid4 .*use holdfast\.uuid4\(\)"),
        ("open", "NonDeterministic", r"open .*do it in a step"),
        ("key", "KeyError", "'x'"),
        ("exit", "SystemExit", "3"),
        ("type", "InvalidInput", "result of workflow 'rt_refused'"),
        ("argument", "StepFailed", "Argument 'car' of step 'rt_paint'"),
        ("missing", "InvalidInput", "rt_paint misses the argument 'car'"),
        ("thing", "InvalidInput", "Argument 'car' of step 'rt_paint' of type object"),
        ("assert", "AssertionError", "that was wrong"),
    ],
)
async def test_an_error_in_workflow_code_fails_the_run_with_its_type(
    holdfast_client: Client, what: str, error: str, message: str
) -> None:
    async with Worker(holdfast_client, [rt_refused]):
        with pytest.raises(RunFailed, match=message) as failed:
            await holdfast_client.run(rt_refused, what)
        assert failed.value.error_type == error


async def test_imports_inside_the_function_work(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [rt_imports]):
        assert await holdfast_client.run(rt_imports) == "60.0"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["three"], "Argument 'number'"),
        ([], "Argument 'number' of workflow 'rt_simple' is missing"),
        ([1, "a", "b"], "got 3 arguments; it takes 2"),
        ([{"a": 1}, 5], "Argument 'number'"),
    ],
)
async def test_undecodable_input_of_another_client_fails_the_run(
    holdfast_client: Client, args: list[Any], message: str
) -> None:
    async with Worker(holdfast_client, [rt_simple]):
        await holdfast_client.temporal.start_workflow("rt_simple", args=args, id="raw", task_queue="default")
        with pytest.raises(RunFailed, match=message) as failed:
            await holdfast_client.get("raw").result()
        assert failed.value.error_type == "InvalidInput"


async def test_another_client_may_leave_out_defaults(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [rt_simple]):
        await holdfast_client.temporal.start_workflow("rt_simple", 2, id="raw", task_queue="default")
        assert await holdfast_client.get("raw").result() == "tt"


async def test_a_step_whose_result_does_not_fit_fails_by_name(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [rt_bad]):
        with pytest.raises(RunFailed, match="RuntimeError: rt_bad_result InvalidInput 1"):
            await holdfast_client.run(rt_bad)


async def test_a_changed_place_takes_the_new_way_only_in_new_runs(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [rt_patched]):
        run = await holdfast_client.start(rt_patched)
        assert await run.result() == "new"
        await replay(run, rt_patched)
    with pytest.raises(NotInWorkflow, match="patched"):
        holdfast.patched("x")


async def test_pause_holds_new_steps_and_resume_lets_them_go_on(holdfast_client: Client) -> None:
    LOG.clear()
    async with Worker(holdfast_client, [rt_pausable]):
        run = await holdfast_client.start(rt_pausable, 10)
        await until(lambda: len(LOG) >= 2)
        await run.pause("lunch", by="Ada")

        async def paused() -> bool:
            return await run.status() is RunState.PAUSED

        await eventually(paused)
        described = await run.describe()
        assert (described.pause_reason, described.paused_by) == ("lunch", "Ada")
        await asyncio.sleep(0.3)
        held = len(LOG)
        await asyncio.sleep(0.3)
        assert len(LOG) == held < 10
        await run.resume()
        assert await run.result() == 10
        await replay(run, rt_pausable)


async def test_a_timeout_of_asyncio_stops_a_step(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [rt_timeout_in_code]):
        run = await holdfast_client.start(rt_timeout_in_code)
        assert await run.result() == "too slow"
        await replay(run, rt_timeout_in_code)


async def test_queues_and_task_groups_of_asyncio_work(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [rt_tasks]):
        run = await holdfast_client.start(rt_tasks)
        assert await run.result() == ["a", "b"]
        await replay(run, rt_tasks)


async def test_wrong_input_is_refused_before_the_start(holdfast_client: Client) -> None:
    start: Any = holdfast_client.start
    for args, message in [
        (["three"], "Argument 'number'"),
        ([], "misses the argument 'number'"),
        ([1, "a", "b"], "got 3 arguments"),
        ([object()], "Argument 'number'"),
        ([float("nan")], "Argument 'number'"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            await start(rt_simple, *args, id="refused")
    assert await holdfast_client.runs.count() == 0
