"""`run.frames()`: open and closed runs of code and of DAGs, from a server."""

from __future__ import annotations

import json

from holdfast import Client, Dag, Worker, continue_as_new, step, wait_for, workflow
from holdfast.states import RunState, StepState


@step
async def played_pack(order: str) -> str:
    return order.upper()


@workflow
async def played_order(order: str) -> str:
    packed = await played_pack(order)
    return packed + await wait_for("address", str)


@workflow
async def played_rounds(left: int) -> str:
    await played_pack(str(left))
    if left > 1:
        continue_as_new(left - 1)
    return "done"


@workflow
async def played_twice(order: str) -> str:
    return await played_pack(await played_pack(order))


played = Dag("played")


@played.step
async def fetch(input: int) -> list[int]:
    return list(range(input))


@played.step(when="size(fetch) > 5")
async def clean(fetch: list[int]) -> list[int]:
    return fetch


@played.map(over="fetch", concurrency=2)
async def enrich(item: int) -> int:
    return item * 2


async def test_an_open_run_ends_with_what_it_waits_for(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [played_order]):
        run = await holdfast_client.start(played_order, "a")
        while (await run.status()) is not RunState.WAITING:
            pass
        frames = await run.frames()
        assert [(item.kind, item.name, item.node) for item in frames.items] == [
            ("step", "played_pack", "played_pack-1"),
            ("wait", "address", "address"),
        ]
        assert frames.states() == {0: StepState.COMPLETED, 1: StepState.WAITING}
        last = frames.frames[-1]
        assert (last.kind, last.state) == ("now", RunState.WAITING)
        assert "address" in last.text
        await run.send("address", "x")
        await run.result()
        frames = await run.frames()
    assert frames.states() == {0: StepState.COMPLETED, 1: StepState.COMPLETED}
    assert [frame.kind for frame in frames.frames if frame.kind != "run.state"] == [
        "run.started",
        "step.scheduled",
        "step.started",
        "step.completed",
        "wait.started",
        "message",
        "wait.completed",
        "run.completed",
    ]


async def test_a_run_that_continues_as_new_is_one_row(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [played_rounds]):
        run = await holdfast_client.start(played_rounds, 3)
        await run.result()
        frames = await run.frames()
    assert [item.execution for item in frames.items] == [0, 1, 2]
    assert set(frames.states().values()) == {StepState.COMPLETED}
    assert not frames.is_cut


async def test_nodes_of_a_dag_move_with_their_steps(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [played_order]):
        run = await holdfast_client.start(played, 3)
        await run.result()
        frames = await run.frames()
    assert {item.node for item in frames.items} == {"fetch", "enrich"}
    silent = [
        (change.node, change.state)
        for frame in frames.frames
        for change in frame.changes
        if change.item is None
    ]
    assert silent == [("clean", StepState.SKIPPED)]
    json.dumps(frames.to_dict())


async def test_the_steps_that_a_forked_run_was_given_are_done_from_its_first_moment_on(
    holdfast_client: Client,
) -> None:
    async with Worker(holdfast_client, [played_twice]):
        again = await holdfast_client.start(played_twice, "b")
        await again.result()
        second = await again.fork(from_step="played_pack#2")
        await second.result()
        frames, described = await second.frames(), await second.describe()
    assert [step.reused_from is not None for step in described.steps] == [True, False]
    steps = {item.id: index for index, item in enumerate(frames.items)}
    assert set(steps) == {step.activity_id for step in described.steps}
    assert frames.states(1) == {steps[described.steps[0].activity_id]: StepState.COMPLETED}
    assert set(frames.states().values()) == {StepState.COMPLETED}
