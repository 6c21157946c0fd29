"""Tasks reach a worker, whatever its other tasks do."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest
from temporalio.bridge.proto.activity_task import ActivityTask, Start

from holdfast import Client, Worker, step, workflow
from holdfast.engine.handover import Handover


class Native:
    """Gives tasks as the native part does: local ones first, each from a poll that sees one; others one by one."""

    def __init__(self) -> None:
        self.local: deque[Any] = deque()
        self.plain: deque[Any] = deque()
        self.open = 0
        self.down = False
        self._looks_at_local = asyncio.Lock()

    async def poll(self) -> Any:
        self.open += 1
        try:
            while True:
                if not self._looks_at_local.locked():
                    async with self._looks_at_local:
                        await asyncio.sleep(0)
                        if self.local:
                            return self.local.popleft()
                if self.plain:
                    return self.plain.popleft()
                if self.down:
                    raise ConnectionAbortedError("shut down")
                await asyncio.sleep(0)
        finally:
            self.open -= 1


def task(number: int, *, local: bool) -> Any:
    return ActivityTask(task_token=b"%d" % number, start=Start(is_local=local))


async def test_a_plain_task_does_not_wait_for_the_last_local_one() -> None:
    native = Native()
    handover = Handover(native.poll, lambda task: None, asyncio.get_running_loop())
    native.local += [task(number, local=True) for number in range(100)]
    native.plain.append(task(100, local=False))
    given = [await handover.next() for _ in range(101)]
    assert sorted(int(task.task_token) for task in given) == list(range(101))
    assert [task.start.is_local for task in given].index(False) < 50


async def test_only_one_poll_is_open_where_no_local_steps_come() -> None:
    native = Native()
    handover = Handover(native.poll, lambda task: None, asyncio.get_running_loop())
    native.plain += [task(number, local=False) for number in range(5)]
    for number in range(5):
        assert (await handover.next()).task_token == b"%d" % number
        assert native.open <= 1


async def test_the_end_is_told_when_no_poll_is_open_any_more_and_nothing_is_left() -> None:
    native = Native()
    handover = Handover(native.poll, lambda task: None, asyncio.get_running_loop())
    native.local += [task(number, local=True) for number in range(20)]
    for _ in range(20):
        await handover.next()
    assert native.open > 1
    native.plain.append(task(20, local=False))
    native.down = True
    assert (await handover.next()).task_token == b"20"
    with pytest.raises(ConnectionAbortedError):
        await handover.next()
    assert native.open == 0


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
