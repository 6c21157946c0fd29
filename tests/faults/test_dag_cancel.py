"""A DAG that is cancelled at every boundary between its nodes ends, and each node is undone once, the last first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from holdfast import (
    Client,
    Permanent,
    Run,
    RunCancelled,
    RunClosed,
    RunFailed,
    RunState,
    Worker,
    step,
    step_info,
)
from holdfast.authoring.dag import Dag

from .dag_history import acknowledged, executions, told_in

TEN: Mapping[str, tuple[str, ...]] = {
    "a": (),
    "b": ("a",),
    "c": ("a",),
    "d": ("b",),
    "e": ("c",),
    "f": ("d", "e"),
    "g": ("f",),
    "h": ("f",),
    "i": ("g", "h"),
    "j": ("i",),
}


class Boundaries:
    """What happened in the runs of a test, and where each one is cancelled.

    Attributes:
        begun: By run, the nodes whose steps began.
        undone: By run, what was undone, with what the compensation was told of it.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.begun: dict[str, list[str]] = {}
        self.undone: dict[str, list[tuple[str, str | None]]] = {}


NOW: list[Boundaries] = []


@step(name="faults.cancel_book")
async def book(name: str, at: int, how: str) -> str:
    """The `at`-th one of a run cancels it, and ends well, or waits for its own end."""
    run_id = step_info().run_id
    begun = NOW[-1].begun.setdefault(run_id, [])
    begun.append(name)
    if len(begun) == at:
        await NOW[-1].client.get(run_id).cancel()
        if how == "inside":
            await asyncio.sleep(3600)
    return f"{name} booked"


@book.compensate
async def unbook(name: str, at: int, how: str, booking: str | None) -> None:
    NOW[-1].undone.setdefault(step_info().run_id, []).append((name, booking))
    if how == "broken" and name in "be":
        raise Permanent(f"{name} stays booked")


@step(name="faults.cancel_refuse", retry="none")
async def refuse(after: Any) -> None:
    raise Permanent("refused")


@pytest.fixture
async def now(holdfast_client: Client) -> AsyncIterator[Boundaries]:
    NOW[:] = [Boundaries(holdfast_client)]
    async with Worker(holdfast_client, []):
        yield NOW[0]


def bookings(at: int, how: str) -> Dag:
    dag = Dag("bookings")
    for name, after in TEN.items():
        dag.add_step(book, id=name, arguments={"name": name, "at": at, "how": how}, depends_on=after)
    return dag


async def ended(run: Run[Any]) -> RunState:
    with pytest.raises(RunFailed):
        await run.result()
    return await run.status()


@pytest.mark.parametrize("how", ["at its end", "inside"])
async def test_a_cancel_at_each_boundary_undoes_each_node_once_the_last_one_first(
    now: Boundaries, how: str
) -> None:
    runs = [await now.client.start(bookings(at, how), id=f"cancel-{at}") for at in range(1, len(TEN) + 1)]
    for at, run in enumerate(runs, 1):
        assert await ended(run) is RunState.CANCELLED
        begun, undone = now.begun[run.id], now.undone.get(run.id, [])
        assert len(begun) >= at
        assert len(set(begun)) == len(begun)
        assert sorted(name for name, _ in undone) == sorted(begun)
        [events] = await executions(now.client, run.id)
        completed = [name for name in acknowledged(events) if name in TEN]
        known = [name for name, booking in undone if booking is not None]
        assert sorted(known) == sorted(completed)
        # Of what the run was told in one task together with the cancel, none was first.
        tasks = told_in(events)
        assert [tasks[name] for name in known] == sorted((tasks[name] for name in known), reverse=True)
        # What nobody knows the outcome of may have happened last.
        assert [name for name, _ in undone] == [name for name, booking in undone if booking is None] + known
        state = (await run.state())["nodes"]
        assert {name for name, node in state.items() if node["state"] == "completed"} <= set(completed)
        assert {node["state"] for node in state.values()} <= {"completed", "cancelled", None}
        with pytest.raises(RunClosed, match="cancelled"):
            await run.cancel()
        assert await run.status() is RunState.CANCELLED
    before = {run_id: list(undone) for run_id, undone in now.undone.items()}
    await asyncio.sleep(0.5)
    assert now.undone == before


async def test_a_cancel_before_the_first_node_undoes_nothing(now: Boundaries) -> None:
    dag = bookings(0, "never")
    dag.add_wait("first", "word")
    dag.add_edge("first", "a")
    run = await now.client.start(dag)
    while (await run.state())["nodes"]["first"]["state"] != "waiting":  # noqa: ASYNC110 - the run is elsewhere
        await asyncio.sleep(0.05)
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result()
    assert (now.begun, now.undone) == ({}, {})


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_compensation_that_fails_is_named_and_the_others_run(
    now: Boundaries, cancelled: bool
) -> None:
    dag = bookings(10 if cancelled else 0, "broken")
    dag.add_step(refuse, id="refuse", arguments={"after": "{{ j }}"}, depends_on=["j"])
    run = await now.client.start(dag)
    with pytest.raises(RunFailed) as raised:
        await run.result()
    told = raised.value.message
    assert "b stays booked" in told
    assert "e stays booked" in told
    assert "compensation failed too" in told
    assert ("the run was cancelled" if cancelled else "refused") in told
    assert await run.status() is RunState.FAILED
    [events] = await executions(now.client, run.id)
    completed = [name for name in acknowledged(events) if name in TEN]
    undone = [name for name, _ in now.undone[run.id]]
    assert sorted(undone) == sorted(TEN)
    assert cancelled or undone == completed[::-1]
