"""Tasks reach a worker, whatever its other tasks do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Any

import pytest
from temporalio.bridge.proto.activity_task import ActivityTask, Cancel, Start

from holdfast import Client, Worker, step, workflow
from holdfast.engine import handover as handover_module
from holdfast.engine.handover import Handover


class Native:
    """Gives tasks as the native part does: local ones first, while one of the places for them is free, others then.

    Args:
        places: For local tasks that are given out and not done. Nobody ends one here.
    """

    def __init__(self, places: int = 1_000) -> None:
        self.local: deque[Any] = deque()
        self.plain: deque[Any] = deque()
        self.open = 0
        self.places = places
        self.down = False
        self._lock = threading.Lock()

    async def poll(self) -> Any:
        with self._lock:
            self.open += 1
        try:
            while True:
                await asyncio.sleep(0.001)
                with self._lock:
                    if self.local and self.places:
                        self.places -= 1
                        return self.local.popleft()
                    if self.plain:
                        return self.plain.popleft()
                    if self.down:
                        raise ConnectionAbortedError("shut down")
        finally:
            with self._lock:
                self.open -= 1


def task(number: int, *, local: bool) -> Any:
    return ActivityTask(task_token=b"%d" % number, start=Start(is_local=local))


def cancel(number: int) -> Any:
    return ActivityTask(task_token=b"%d" % number, cancel=Cancel())


async def test_many_polls_are_open_while_local_tasks_come() -> None:
    native = Native(places=20)
    handover = Handover(native.poll, lambda task: None, asyncio.get_running_loop())
    native.local += [task(number, local=True) for number in range(100)]
    native.plain.append(task(100, local=False))
    assert (await handover.next()).start.is_local
    while native.places:  # nobody takes up what comes, and still it comes  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    given = [await handover.next() for _ in range(20)]
    assert [task.start.is_local for task in given].count(False) == 1
    native.down = True
    native.places = 1_000
    rest = [await handover.next() for _ in range(80)]
    assert len({task.task_token for task in [*given, *rest]}) == 100
    with pytest.raises(ConnectionAbortedError):
        await handover.next()
    assert native.open == 0


async def test_polls_that_ended_between_two_flows_are_open_in_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover_module, "_FLOW_SECONDS", 0.01)
    native = Native(places=1)
    handover = Handover(native.poll, lambda task: None, asyncio.get_running_loop())
    native.local.append(task(0, local=True))
    await handover.next()
    await asyncio.sleep(0.05)
    native.plain += [task(number, local=False) for number in (1, 2)]
    assert [(await handover.next()).start.is_local for _ in range(2)] == [False, False]
    monkeypatch.setattr(handover_module, "_FLOW_SECONDS", 60)
    native.local += [task(number, local=True) for number in range(3, 40)]
    native.places = 20
    await handover.next()
    while native.places:  # noqa: ASYNC110 - threads do it
        await asyncio.sleep(0.001)
    while native.open < 3:  # those beside the loop, whose own comes with the next call  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    native.down = True


async def test_what_has_come_is_kept_alive_when_the_loop_is_held() -> None:
    native, kept = Native(places=20), list[bytes]()
    handover = Handover(native.poll, lambda task: kept.append(task.task_token), asyncio.get_running_loop())
    native.local += [task(number, local=True) for number in range(20)]
    await handover.next()
    native.plain += [task(number, local=False) for number in range(20, 23)]
    deadline = time.monotonic() + 10
    while native.plain:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # noqa: ASYNC251 - it holds the loop
    handover.loop_is_held()
    assert {b"20", b"21", b"22"} <= {*kept}
    native.down = True
    handover.loop_is_free()


async def test_only_one_poll_is_open_where_no_local_steps_come() -> None:
    native = Native()
    handover = Handover(native.poll, lambda task: None, asyncio.get_running_loop())
    native.plain += [task(number, local=False) for number in range(5)]
    for number in range(5):
        assert (await handover.next()).task_token == b"%d" % number
        assert native.open <= 1


async def test_a_cancel_of_what_has_ended_is_dropped() -> None:
    native = Native()
    native.plain += [cancel(1), cancel(2), task(3, local=False)]
    handover = Handover(native.poll, lambda task: None, asyncio.get_running_loop(), {b"2": None})
    assert [(await handover.next()).task_token for _ in range(2)] == [b"2", b"3"]
    native.down = True


LOCAL_LEFT: list[int] = []
LOCAL: set[int] = set()


@step(local=True)
async def quick(number: int) -> None:
    LOCAL.add(number)


@step
async def plain() -> None:
    LOCAL_LEFT.append(400 - len(LOCAL))


@workflow
async def many_local(first: int, count: int) -> None:
    await asyncio.gather(*(quick(number) for number in range(first, first + count)))


@workflow
async def one_plain() -> None:
    await plain()


async def test_a_plain_step_runs_while_many_local_steps_wait(holdfast_client: Client) -> None:
    LOCAL.clear()
    LOCAL_LEFT.clear()
    async with Worker(holdfast_client, [many_local, one_plain]):
        runs = [await holdfast_client.start(many_local, first, 200) for first in (0, 200)]
        await holdfast_client.run(one_plain)
        for run in runs:
            await run.result()
    assert len(LOCAL) == 400
    assert LOCAL_LEFT[0] > 0
