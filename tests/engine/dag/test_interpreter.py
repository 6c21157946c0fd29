"""DAGs run on a real server: order, conditions, choices, maps, loops, waits, failures and what undoes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from holdfast import Client, InvalidInput, NotInWorkflow, Permanent, RunFailed, Worker, step, workflow
from holdfast.authoring.dag import Dag
from holdfast.engine.maps.mapper import MAX_ITEMS

TRACE: list[str] = []


@step
async def dag_note(name: str, after: list[Any] | None = None) -> str:
    TRACE.append(name)
    return name


@step
async def dag_double(value: int) -> int:
    return 2 * value


@step(retry="none")
async def dag_break(value: int) -> int:
    TRACE.append(f"break {value}")
    if value >= 0:
        raise Permanent(f"no {value}")
    return value


@step
async def dag_book(what: str) -> str:
    TRACE.append(f"book {what}")
    return f"{what}-1"


@dag_book.compensate
async def dag_unbook(what: str, booking: str | None) -> None:
    TRACE.append(f"unbook {what} {booking}")


@step
async def dag_large(size: int) -> str:
    return "x" * size


@step
async def dag_length(text: str) -> int:
    return len(text)


@workflow
async def dag_outer(value: int) -> int:
    inner = Dag("inner")
    inner.add_step(dag_double, id="twice", arguments={"value": "{{ input }}"})
    return int(await inner(value))


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    TRACE.clear()
    async with Worker(holdfast_client, [dag_outer], queues=["default"]):
        yield holdfast_client


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - what is awaited happens in a run
            await asyncio.sleep(0.05)


def note(dag: Dag, id: str, *after: str, **options: Any) -> None:
    dag.add_step(
        dag_note,
        id=id,
        arguments={"name": id, "after": [f"{{{{ {name} }}}}" for name in after]},
        depends_on=list(after),
        **options,
    )


async def test_every_node_runs_once_after_what_it_depends_on(client: Client) -> None:
    dag = Dag("diamond", output="[left, right, join]")
    for id, after in {"top": [], "left": ["top"], "right": ["top"], "join": ["left", "right"]}.items():
        note(dag, id, *after)
    assert await client.run(dag) == ["left", "right", "join"]
    assert sorted(TRACE) == ["join", "left", "right", "top"]
    assert TRACE[0] == "top"
    assert TRACE[-1] == "join"


async def test_a_node_does_not_wait_for_others_of_its_level(client: Client) -> None:
    dag = Dag("event_driven")
    note(dag, "quick")
    dag.add_timer("slow", duration="30s")
    note(dag, "after_quick", "quick")
    note(dag, "after_slow", "slow")
    run = await client.start(dag)

    async def noted() -> bool:
        return "after_quick" in TRACE

    await until(noted)
    assert "after_slow" not in TRACE
    assert (await run.state())["nodes"]["slow"]["state"] == "waiting"
    await run.result()
    assert "after_slow" in TRACE


async def test_an_output_keeps_its_type_and_large_ones_do_not_pass_through_the_run(client: Client) -> None:
    dag = Dag("large")
    dag.add_step(dag_large, id="text", arguments={"size": "{{ input }}"})
    dag.add_step(dag_length, id="length", arguments={"text": "{{ text }}"})
    run = await client.start(dag, 5_000_000)
    assert await run.result() == 5_000_000
    assert (await run.history()).to_json().count("x" * 100) == 0


async def test_a_condition_on_a_large_output_is_evaluated_in_a_step(client: Client) -> None:
    dag = Dag("large_condition", output="after")
    dag.add_step(dag_large, id="text", arguments={"size": 5_000_000})
    dag.add_step(
        dag_note, id="after", arguments={"name": "yes"}, when="size(text) == 5000000", depends_on=["text"]
    )
    assert await client.run(dag) == "yes"


async def test_an_unmet_condition_skips_one_node_or_all_that_follow(client: Client) -> None:
    dag = Dag("unmet", output="[a, b, c, d]")
    note(dag, "a", when="input > 1")
    note(dag, "b", "a")
    note(dag, "c", when="input > 1", when_unmet="skip_cascade")
    note(dag, "d", "c")
    assert await client.run(dag, 1) == [None, "b", None, None]
    assert await client.run(dag, 2) == ["a", "b", "c", "d"]


async def test_an_unmet_condition_may_fail_the_run(client: Client) -> None:
    dag = Dag("must")
    note(dag, "a", when="input > 1", when_unmet="fail")
    with pytest.raises(RunFailed, match=r"node 'a' may not run: its condition 'input > 1' is false"):
        await client.run(dag, 1)


@pytest.mark.parametrize(("value", "chosen"), [(1, "small"), (50, "middle"), (500, "other")])
async def test_a_switch_chooses_one_way_and_ways_join_again(client: Client, value: int, chosen: str) -> None:
    dag = Dag("choice", output="join")
    dag.add_switch("size_of", {"input < 10": "small", "input < 100": "middle"}, default="other")
    for id in ("small", "middle", "other"):
        note(dag, id)
        note(dag, f"after_{id}", id)
    note(dag, "join", "after_small", "after_middle", "after_other")
    assert await client.run(dag, value) == "join"
    assert ", ".join(TRACE) == f"{chosen}, after_{chosen}, join"


async def test_a_switch_that_is_skipped_goes_no_way(client: Client) -> None:
    dag = Dag("choice", output="join")
    dag.add_switch("way", {"true": "yes"}, default="no", when="false")
    for id in ("yes", "no", "join"):
        note(dag, id)
    dag.add_edge("yes", "join")
    dag.add_edge("no", "join")
    assert await client.run(dag) is None
    assert TRACE == []


async def test_a_map_keeps_the_order_of_its_items(client: Client) -> None:
    dag = Dag("mapped")
    dag.add_map(dag_double, id="twice", over="input", concurrency=3, arguments={"value": "{{ item }}"})
    assert await client.run(dag, [5, 1, 4, 2, 3]) == [10, 2, 8, 4, 6]
    assert await client.run(dag, []) == []


async def test_a_map_counts_and_collects(client: Client) -> None:
    dag = Dag("collected")
    dag.add_map(
        dag_break,
        id="all",
        over="input",
        on_error="collect",
        arguments={"value": "{{ item == 1 ? 1 : -item }}"},
    )
    assert await client.run(dag, 4) == [None, None, -2, -3]


@pytest.mark.parametrize(
    ("over", "message"),
    [("text", "is text"), (-1, "zero or more"), (MAX_ITEMS + 1, "at most"), (None, "null")],
)
async def test_a_map_over_something_else_is_an_error(client: Client, over: object, message: str) -> None:
    dag = Dag("not_a_list")
    dag.add_map(dag_double, id="twice", over="input", arguments={"value": "{{ item }}"})
    with pytest.raises(RunFailed, match=message):
        await client.run(dag, over)


async def test_a_loop_goes_on_while_its_condition_holds_and_has_a_bound(client: Client) -> None:
    dag = Dag("looped")
    dag.add_step(
        dag_double,
        id="grow",
        arguments={"value": "{{ grow == null ? 1 : grow }}"},
        loop={"while": "grow < input", "max_iterations": 6},
    )
    assert await client.run(dag, 20) == 32
    with pytest.raises(RunFailed, match="still went on after 6 runs"):
        await client.run(dag, 1000)


async def test_waits_and_approvals_give_their_answers(client: Client) -> None:
    dag = Dag("asks", output="{'event': parcel, 'approved': ok.approved}")
    dag.add_wait("parcel", event="parcel", timeout=timedelta(days=1))
    dag.add_approval("ok", prompt="Go on?", depends_on=["parcel"])
    run = await client.start(dag)
    await run.send("parcel", {"weight": 3})

    async def asked() -> bool:
        return bool(await client.approvals.list(run_id=run.id))

    await until(asked)
    await client.approvals.decide(run.id, "ok", approved=True)
    assert await run.result() == {"event": {"weight": 3}, "approved": True}


async def test_a_failed_node_undoes_the_others_in_reverse_order(client: Client) -> None:
    dag = Dag("saga")
    dag.add_step(dag_book, id="hotel", arguments={"what": "hotel"})
    dag.add_step(dag_book, id="flight", arguments={"what": "flight for {{ hotel }}"})
    dag.add_step(dag_break, id="pay", arguments={"value": 7}, depends_on=["flight"])
    with pytest.raises(RunFailed, match="step 'pay' failed: Permanent: no 7"):
        await client.run(dag)
    assert TRACE[-2:] == ["unbook flight for hotel-1 flight for hotel-1-1", "unbook hotel hotel-1"]


async def test_a_dag_may_leave_what_has_completed(client: Client) -> None:
    dag = Dag("no_undo", on_failure="fail")
    dag.add_step(dag_book, id="hotel", arguments={"what": "hotel"})
    dag.add_step(dag_break, id="pay", arguments={"value": 7}, depends_on=["hotel"])
    with pytest.raises(RunFailed):
        await client.run(dag)
    assert not any(line.startswith("unbook") for line in TRACE)


async def test_exhausted_attempts_may_skip(client: Client) -> None:
    dag = Dag("tolerant", output="[pay, after]")
    dag.add_step(dag_break, id="pay", arguments={"value": 7}, when_exhausted="skip")
    note(dag, "after", "pay")
    run = await client.start(dag)
    assert await run.result() == [None, "after"]
    assert (await run.state())["nodes"]["pay"]["state"] == "skipped"


async def test_a_run_that_pauses_on_failure_goes_on_when_somebody_decides(client: Client) -> None:
    dag = Dag("patient", on_failure="pause", output="[pay, after]")
    dag.add_step(dag_break, id="pay", arguments={"value": 7})
    note(dag, "after", "pay")
    run = await client.start(dag)

    async def failed() -> bool:
        return bool((await run.state())["nodes"]["pay"]["state"] == "failed")

    await until(failed)
    with pytest.raises(InvalidInput, match="no node 'nope'"):
        await run.update("retry_node", "nope")
    await run.update("retry_node", "pay")

    async def failed_again() -> bool:
        return TRACE.count("break 7") == 2 and await failed()

    await until(failed_again)
    await run.update("skip_node", "pay")
    assert await run.result() == [None, "after"]


async def test_an_expression_without_a_value_names_what_exists(client: Client) -> None:
    dag = Dag("divides", output="1 / input")
    note(dag, "a")
    with pytest.raises(RunFailed, match="divi"):
        await client.run(dag, 0)


async def test_a_dag_is_a_child_inside_a_workflow_and_nothing_elsewhere(client: Client) -> None:
    assert await client.run(dag_outer, 21) == 42
    with pytest.raises(NotInWorkflow, match=r"client\.run"):
        await Dag("alone")()


async def test_what_cannot_be_run_is_refused_before_anything_runs(client: Client) -> None:
    dag = Dag("unknown")
    note(dag, "first")
    dag.node("last", executor="teleport", depends_on=["first"])
    with pytest.raises(RunFailed, match="no executor 'teleport'"):
        await client.run(dag)
    assert not TRACE
