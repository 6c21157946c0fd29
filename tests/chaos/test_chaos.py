"""Faults happen to the steps of real workers, are counted, and are made good."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, InvalidConfiguration, InvalidInput, NotAllowed, RunFailed, Worker
from holdfast.chaos.control import check_allowed, is_local
from holdfast.chaos.plan import FaultPlan
from holdfast.chaos.profiles import Profile

from . import flows
from .flows import disturbed_flow, undone_flow

QUICK = timedelta(milliseconds=20)
ALWAYS = Profile(name="always", error=1.0, max_events=None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one server for all tests of this file; it ends by itself after its last client."""
    return tmp_path_factory.mktemp("chaos") / ".holdfast"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    """A client whose chaos does not run."""
    async with Client.embedded(home) as connected:
        await connected.chaos.start(Profile())
        await connected.chaos.stop()
        yield connected
        await connected.chaos.stop()


def effects(folder: Path) -> list[list[str]]:
    """The words of all lines."""
    file = folder / "effects"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


async def eventually(condition: Any, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is asked is elsewhere
            await asyncio.sleep(0.05)


async def test_single_faults_happen_once_and_are_made_good(client: Client, tmp_path: Path) -> None:
    await client.chaos.inject("error", step="disturbed")
    await client.chaos.inject("error", step="disturbed_on_thread", after=True)
    await client.chaos.inject("latency", step="disturbed_locally", duration=QUICK)
    assert len((await client.chaos.stats()).pending) == 3
    async with Worker(client, [disturbed_flow]):
        assert await client.run(disturbed_flow, str(tmp_path)) == [2, 2, 1]
        assert await client.run(disturbed_flow, str(tmp_path)) == [1, 1, 1]
    stats = await client.chaos.stats()
    assert stats.injected == {"error": 2, "latency": 1}
    assert stats.recovered == stats.injected
    assert (stats.running, stats.pending) == (False, [])
    done = [(step, attempt) for step, _, attempt, _ in effects(tmp_path)[:4]]
    # Before the step's work there is no effect; after it, there is one of which nobody knows.
    assert done == [
        ("disturbed", "2"),
        ("disturbed_on_thread", "1"),
        ("disturbed_on_thread", "2"),
        ("disturbed_locally", "1"),
    ]
    assert [one.step for one in stats.latest] == ["disturbed_locally", "disturbed_on_thread", "disturbed"]


async def test_a_silent_attempt_is_given_up_by_the_server(client: Client, tmp_path: Path) -> None:
    await client.chaos.inject("timeout", step="disturbed", after=True)
    async with Worker(client, [disturbed_flow]):
        run = await client.start(disturbed_flow, str(tmp_path))
        assert await run.result() == [2, 1, 1]
    (step, *_) = (await run.describe()).steps
    assert step.attempt == 2
    assert (await client.chaos.stats()).recovered == {"timeout": 1}


async def test_a_compensation_fails_and_is_done_all_the_same(client: Client, tmp_path: Path) -> None:
    await client.chaos.inject("compensation")
    async with Worker(client, [undone_flow]):
        with pytest.raises(RunFailed, match="everything is to be undone"):
            await client.run(undone_flow, str(tmp_path))
    assert [(step, attempt) for step, _, attempt, _ in effects(tmp_path)] == [
        ("disturbed", "1"),
        ("disturbed.compensate", "2"),
    ]
    stats = await client.chaos.stats()
    assert (stats.injected, stats.recovered) == ({"compensation": 1}, {"compensation": 1})


async def test_a_step_that_chaos_fails_for_good_says_so(client: Client, tmp_path: Path) -> None:
    async with Worker(client, [disturbed_flow], chaos=ALWAYS, seed=1):
        with pytest.raises(RunFailed, match="ChaosError"):
            await client.run(disturbed_flow, str(tmp_path))
    stats = await client.chaos.stats()
    assert stats.injected["error"] == 5
    assert stats.recovered == {}


async def test_running_workers_are_told_to_start_to_change_and_to_stop(
    client: Client, tmp_path: Path
) -> None:
    async with Worker(client, [disturbed_flow]):

        async def attempts() -> list[int]:
            return await client.run(disturbed_flow, str(tmp_path))

        async def undisturbed() -> bool:
            return await attempts() == [1, 1, 1]

        slow = Profile(name="slow", latency=1.0, min_latency=QUICK, max_latency=QUICK, max_events=None)
        started = await client.chaos.start(slow, seed=5)
        assert (started.running, started.seed, started.injected) == (True, 5, {})

        async def slowed() -> bool:
            await attempts()
            return "latency" in (await client.chaos.stats()).injected

        await eventually(slowed)
        changed = await client.chaos.profile(Profile(name="none"))
        assert (changed.seed, changed.profile and changed.profile["name"]) == (5, "none")
        await client.chaos.stop()
        counted = (await client.chaos.stats()).injected
        await asyncio.sleep(1.1)  # a worker looks once a second
        assert await undisturbed()
        assert (await client.chaos.stats()).injected == counted
        with pytest.raises(InvalidInput, match="does not run"):
            await client.chaos.profile("gentle")


async def test_the_bound_of_an_interval_holds_over_all_workers(
    client: Client, home: Path, tmp_path: Path
) -> None:
    bounded = Profile(name="bounded", error=1.0, interval=timedelta(hours=1), max_events=2)
    async with (
        Client.embedded(home) as other,
        Worker(client, [disturbed_flow], chaos=bounded, seed=1),
        Worker(other, [disturbed_flow], chaos=bounded, seed=1),
    ):
        await asyncio.gather(*(client.run(disturbed_flow, str(tmp_path)) for _ in range(5)))
    assert (await client.chaos.stats()).injected == {"error": 2}


async def test_the_faults_are_those_of_the_seed(client: Client, tmp_path: Path) -> None:
    plan = FaultPlan(Profile(name="some", error=0.4, max_events=None), 2)

    def expected(run_id: str, step: str) -> int:
        return next(n for n in range(1, 6) if plan.fault(run_id, step, f"{step}-1", n) is None)

    async with Worker(client, [disturbed_flow], chaos=plan):
        runs = [await client.start(disturbed_flow, str(tmp_path), id=f"seeded-{n}") for n in range(4)]
        told = [await run.result() for run in runs]
    steps = ("disturbed", "disturbed_on_thread", "disturbed_locally")
    assert told == [[expected(run.id, step) for step in steps] for run in runs]
    assert any(attempts != [1, 1, 1] for attempts in told)


async def test_a_crash_kills_the_worker_is_counted_and_the_next_worker_goes_on(
    client: Client, home: Path, tmp_path: Path
) -> None:
    def worker() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "holdfast_server.cli", "worker", "tests.chaos.flows"]
        return subprocess.Popen([*command, "--home", str(home), "--quiet"])

    await client.chaos.inject("crash", step="disturbed", after=True)
    # A worker that is only a part of a process leaves it alone.
    async with Worker(client, [flows]):
        assert await client.run(disturbed_flow, str(tmp_path)) == [1, 1, 1]
    first = worker()
    try:
        run = await client.start(disturbed_flow, str(tmp_path))
        assert await asyncio.to_thread(first.wait, 30) == -9
        stats = await client.chaos.stats()
        assert (stats.injected, stats.recovered, stats.latest[0].pid) == ({"crash": 1}, {}, first.pid)
    finally:
        first.kill()
        first.wait()
    second = worker()
    try:
        assert await run.result() == [2, 1, 1]
        assert (await client.chaos.stats()).recovered == {"crash": 1}
    finally:
        second.terminate()
        second.wait()
    places = [
        (step, attempt, int(pid)) for step, run_id, attempt, pid in effects(tmp_path) if run_id == run.id
    ]
    assert places[:2] == [("disturbed", "1", first.pid), ("disturbed", "2", second.pid)]
    assert os.getpid() not in {pid for *_, pid in places}


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("flood", {}, "use one of crash"),
        ("error", {"duration": QUICK}, "no duration"),
        ("latency", {"after": True}, "does not go with"),
        ("partition", {"step": "charge"}, "all connections"),
    ],
)
async def test_a_fault_that_cannot_be_is_refused(
    client: Client, kind: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        await client.chaos.inject(kind, **options)


async def test_a_seed_without_a_profile_is_refused(client: Client) -> None:
    with pytest.raises(InvalidConfiguration, match="seed="):
        Worker(client, [disturbed_flow], seed=1)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:7233", True),
        ("localhost:7233", True),
        ("[::1]:7233", True),
        ("http://127.0.0.1:7233", True),
        ("temporal.example.com:7233", False),
        ("10.0.0.5:7233", False),
        ("127.0.0.1.example.com:7233", False),
        ("localhost.example.com:7233", False),
    ],
)
def test_only_clusters_of_this_machine_are_disturbed_unless_it_is_allowed(address: str, local: bool) -> None:
    assert is_local(address) is local
    check_allowed(address, allow_chaos=True)
    if not local:
        with pytest.raises(NotAllowed, match="allow_chaos=True"):
            check_allowed(address, allow_chaos=False)


async def test_the_command_line_starts_and_stops_it_and_tells_what_happened(
    client: Client, home: Path, tmp_path: Path
) -> None:
    async def chaos(*arguments: str) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "holdfast_server.cli",
                "chaos",
                *arguments,
                "--json",
                "--home",
                str(home),
            ),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0
        told: dict[str, Any] = json.loads(said)
        return told

    started = await chaos("start", '{"name": "mine", "max_events": 3}', "--seed", "9")
    assert (started["running"], started["seed"], started["profile"]["name"]) == (True, 9, "mine")
    order = (await chaos("inject", "error", "--step", "disturbed", "--after"))["order"]
    assert (await client.chaos.stats()).pending == [order]
    async with Worker(client, [disturbed_flow]):
        assert await client.run(disturbed_flow, str(tmp_path)) == [2, 1, 1]
    stopped = await chaos("stop")
    assert (stopped["running"], stopped["injected"], stopped["recovered"]) == (
        False,
        {"error": 1},
        {"error": 1},
    )
    assert stopped["latest"][0]["order"] == order
