"""Maps: in one run and spread over child runs, in code and in DAGs, and what undoes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast import (
    Client,
    InvalidInput,
    Permanent,
    RetryPolicy,
    RunFailed,
    StepFailed,
    Worker,
    map_steps,
    step,
    workflow,
)
from holdfast.authoring.dag import Dag
from holdfast.engine.maps import mapper

CALLED: list[int] = []
UNDONE: list[int] = []


@step(retry=RetryPolicy(max_attempts=20))  # a worker that stands still, as on a busy machine, uses some up
async def map_double(item: int) -> int:
    CALLED.append(item)
    return 2 * item


@step(local=True)
async def map_local_double(item: int) -> int:
    return 2 * item


@step(retry="none")
async def map_pick(item: int, bad: int = 7) -> int:
    CALLED.append(item)
    if item == bad:
        raise Permanent(f"not {item}")
    return item


@step
async def map_book(item: int) -> str:
    CALLED.append(item)
    return f"booking {item}"


@map_book.compensate
async def map_unbook(item: int, booking: str | None) -> None:
    assert booking in (None, f"booking {item}")
    UNDONE.append(item)


@step(retry="none")
async def map_fails_twice(item: int) -> str:
    CALLED.append(item)
    if item == 2 and CALLED.count(2) < 3:
        raise RuntimeError("not yet")
    return f"tried {item}"


@map_fails_twice.compensate
async def map_untry(item: int, tried: str | None) -> None:
    assert tried == f"tried {item}"
    UNDONE.append(item)


@step(retry="none")
async def map_refuse() -> None:
    raise Permanent("refused")


@step
async def map_texts(count: int, size: int) -> list[str]:
    return [f"{number:06}" + "x" * size for number in range(count)]


@step
async def map_head(item: str) -> str:
    return item[:6]


@step
async def map_copy(item: str) -> str:
    return item


@step
async def map_total(texts: list[str]) -> int:
    assert all(len(text) == len(texts[0]) for text in texts)
    return len(texts)


@workflow
async def mapped(count: int) -> list[int]:
    return await map_steps(map_double, range(count))


@workflow
async def mapped_locally(count: int) -> list[int]:
    return await map_steps(map_local_double, list(range(count)), concurrency=500)


@workflow
async def collected(count: int) -> list[str]:
    results = await map_steps(map_pick, list(range(count)), on_error="collect")
    return [result.message if isinstance(result, StepFailed) else str(result) for result in results]


@workflow
async def picked(count: int) -> list[int]:
    return await map_steps(map_pick, list(range(count)))


@workflow
async def booked(count: int) -> None:
    await map_steps(map_book, list(range(count)), concurrency=200)
    await map_refuse()


@workflow
async def doubled(value: int) -> int:
    return await map_local_double(value)


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    CALLED.clear()
    UNDONE.clear()
    served = [mapped, mapped_locally, collected, picked, booked, doubled]
    async with Worker(holdfast_client, served):
        yield holdfast_client


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few items already need two levels of child runs."""
    monkeypatch.setattr(mapper, "_ITEMS", 3)
    monkeypatch.setattr(mapper, "_LOCAL_ITEMS", 5)
    monkeypatch.setattr(mapper, "_CHILD_ITEMS", 2)
    monkeypatch.setattr(mapper, "_CHILDREN", 4)


async def longest_history(client: Client) -> int:
    lengths = [run.history_length async for run in client.temporal.list_workflows()]
    return max(lengths)


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_few_items_run_in_the_run_itself(client: Client, count: int) -> None:
    assert await client.run(mapped, count) == [2 * number for number in range(count)]


async def test_many_items_run_in_children_in_order_and_once(client: Client) -> None:
    run = await client.start(mapped, 700)
    assert await run.result() == [2 * number for number in range(700)]
    assert sorted(CALLED) == list(range(700))
    assert len((await run.describe()).children) == 3


async def test_no_history_grows_long(client: Client) -> None:
    await client.run(mapped_locally, 2_000)
    await client.run(mapped, 900)
    assert await longest_history(client) < 2_000


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [4, 12, 13, 49])
async def test_levels_of_children_keep_the_order(client: Client, count: int) -> None:
    assert await client.run(mapped, count) == [2 * number for number in range(count)]
    assert sorted(CALLED) == list(range(count))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [3, 9, 30])
async def test_failed_items_are_collected_with_their_reasons(client: Client, count: int) -> None:
    found = await client.run(collected, count)
    assert len(found) == count
    assert [index for index, text in enumerate(found) if "not 7" in text] == ([7] if count > 7 else [])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [8, 30])
async def test_the_first_failed_item_fails_the_map(client: Client, count: int) -> None:
    with pytest.raises(RunFailed, match=r"map_pick.*not 7"):
        await client.run(picked, count)


@pytest.mark.parametrize(("count", "leaf"), [(3, 3), (11, 3), (40, 3)])
async def test_what_child_runs_did_is_undone_once_in_reverse(
    client: Client, count: int, leaf: int, small: None
) -> None:
    with pytest.raises(RunFailed, match="refused"):
        await client.run(booked, count)
    assert sorted(CALLED) == list(range(count))
    assert sorted(UNDONE) == list(range(count))
    assert len(UNDONE) == count


@pytest.mark.usefixtures("small")
async def test_a_part_that_fails_undoes_itself_and_the_others_are_undone(client: Client) -> None:
    dag = Dag("half")
    dag.add_map(map_book, id="book", over="10", arguments={"item": "{{ item }}"})
    dag.add_map(map_pick, id="pick", over="10", arguments={"item": "{{ item }}"}, depends_on=["book"])
    with pytest.raises(RunFailed, match="not 7"):
        await client.run(dag)
    assert sorted(UNDONE) == list(range(10))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("undone", "children"), [(False, 0), (True, 2)])
async def test_local_items_that_may_be_undone_count_as_plain_ones(
    client: Client, undone: bool, children: int
) -> None:
    dag = Dag("local")
    called = map_book if undone else map_local_double
    dag.add_map(called, over="5", local=True, arguments={"item": "{{ item }}"})
    run = await client.start(dag)
    await run.result()
    assert len((await run.describe()).children) == children


@pytest.mark.usefixtures("small")
async def test_a_map_over_a_map_and_over_nothing(client: Client) -> None:
    dag = Dag("twice", output="[second, none]")
    dag.add_map(map_double, id="first", over="input", arguments={"item": "{{ item }}"})
    dag.add_map(map_double, id="second", over="first", arguments={"item": "{{ item }}"}, depends_on=["first"])
    dag.add_map(map_double, id="none", over="[]", arguments={"item": "{{ item }}"})
    assert await client.run(dag, list(range(20))) == [[4 * number for number in range(20)], []]


@pytest.mark.usefixtures("small")
async def test_children_are_mapped_too(client: Client) -> None:
    inner = Dag("inner")
    inner.add_step(map_double, id="twice", arguments={"item": "{{ input.value }}"})
    dag = Dag("outer", output="[code, dag]")
    dag.add_workflow("code", doubled, input="{{ item }}", map={"over": "7"})
    dag.add_workflow("dag", inner, input={"value": "{{ item + index }}"}, map={"over": "7"})
    twice = [2 * number for number in range(7)]
    assert await client.run(dag) == [twice, [2 * number for number in twice]]


@pytest.mark.usefixtures("small")
async def test_lists_and_outputs_that_do_not_pass_through_the_run(client: Client) -> None:
    dag = Dag("large", output="[size(heads), heads[0], heads[39], total]")
    dag.add_step(map_texts, id="texts", arguments={"count": 40, "size": 150_000})
    dag.add_map(map_head, id="heads", over="texts", arguments={"item": "{{ item }}"}, depends_on=["texts"])
    dag.add_map(map_copy, id="copies", over="texts", arguments={"item": "{{ item }}"}, depends_on=["texts"])
    dag.add_step(map_total, id="total", arguments={"texts": "{{ copies }}"}, depends_on=["copies"])
    run = await client.start(dag)
    assert await run.result() == [40, "000000", "000039", 40]
    assert len((await run.describe()).children) == 8  # 4 for each map, and theirs
    assert (await run.history()).to_json().count("x" * 100) == 0


@pytest.mark.usefixtures("small")
async def test_what_was_done_with_a_list_that_lies_in_the_storage_is_undone(client: Client) -> None:
    dag = Dag("large")
    dag.add_step(map_texts, id="texts", arguments={"count": 40, "size": 20_000})
    dag.add_map(map_book, id="book", over="texts", arguments={"item": "{{ index }}"}, depends_on=["texts"])
    dag.add_step(map_refuse, id="refuse", depends_on=["book"])
    with pytest.raises(RunFailed, match="refused"):
        await client.run(dag)
    assert sorted(UNDONE) == sorted(CALLED) == list(range(40))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [3, 9, 30])
async def test_what_has_completed_is_not_done_again_when_a_map_is_tried_again(
    client: Client, count: int
) -> None:
    dag = Dag("again", on_failure="pause")
    dag.add_map(map_fails_twice, id="tried", over=str(count), arguments={"item": "{{ item }}"})
    dag.add_step(map_refuse, id="refuse", depends_on=["tried"])
    run = await client.start(dag)
    for _ in range(2):
        while (await run.state())["nodes"]["tried"]["state"] != "failed":  # noqa: ASYNC110 - the run is elsewhere
            await asyncio.sleep(0.05)
        await run.update("retry_node", "tried")
    while (await run.state())["nodes"]["refuse"]["state"] != "failed":  # noqa: ASYNC110 - the run is elsewhere
        await asyncio.sleep(0.05)
    assert sorted(CALLED) == [number for number in range(count) for _ in range(3 if number == 2 else 1)]
    assert (await run.state())["nodes"]["tried"]["done"] == count
    await run.cancel()
    with pytest.raises(RunFailed):
        await run.result()
    assert sorted(UNDONE) == list(range(count))


@pytest.mark.usefixtures("small")
async def test_a_list_made_by_a_large_expression(client: Client) -> None:
    dag = Dag("filtered", output="size(kept)")
    dag.add_map(map_double, id="kept", over="input.filter(n, n % 100 == 0)", arguments={"item": "{{ item }}"})
    assert await client.run(dag, list(range(2_000))) == 20


async def test_too_many_items_are_refused(client: Client) -> None:
    with pytest.raises(RunFailed, match="10,000,000 items; at most 1,000,000"):
        await client.run(mapped, 10_000_000)


async def test_map_steps_says_what_it_takes(client: Client) -> None:
    wrong: Any = map_steps
    with pytest.raises(InvalidInput, match="1 to 500"):
        await wrong(map_double, [1], concurrency=0)
    with pytest.raises(InvalidInput, match="not str"):
        await wrong(map_double, "abc")
    with pytest.raises(InvalidInput, match="fail_fast"):
        await wrong(map_double, [1], on_error="ignore")
