"""What a worker process offers beside its queue: health, several queues, processes that compute."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from holdfast import Client

from .conftest import Scene, thorough, until
from .served import across_queues, block_in_c, computing, one_after_another


async def answer(port: int, path: str) -> int:
    """The status that the health endpoint answers; 0 when nobody listens."""

    def ask() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    return await asyncio.to_thread(ask)


async def test_health_and_ready_while_it_serves_drains_and_ends(scene: Scene, client: Client) -> None:
    host = await scene.host(health_port=0)
    port = int(host.line("serving")[1])
    assert [await answer(port, path) for path in ("/health", "/ready", "/else")] == [200, 200, 404]
    run = await client.start(one_after_another, ["a"], 2)
    await until(lambda: scene.ledger.starts(), 10)
    host.terminate()
    await asyncio.sleep(0.5)
    assert [await answer(port, path) for path in ("/health", "/ready")] == [200, 503]
    assert await host.ended(10) == 0
    assert await answer(port, "/health") == 0
    await scene.host()
    assert await run.result() == ["a"]
    assert len(scene.ledger.starts()) == 1


async def test_one_process_serves_several_queues(scene: Scene, client: Client) -> None:
    await scene.host(queues=["default", "second"])
    assert await client.run(across_queues) == "there"


@thorough
async def test_a_queue_of_its_own_worker_keeps_its_steps_there(scene: Scene, client: Client) -> None:
    await asyncio.gather(scene.host(queues=["default"]), scene.host(queues=["second"]))
    assert await client.run(across_queues) == "there"
    assert scene.ledger.starts()[0].pid == scene.hosts[1].pid


@thorough
async def test_a_killed_computing_process_costs_one_attempt_and_the_worker_lives(
    scene: Scene, client: Client
) -> None:
    host = await scene.host(max_processes=2)
    marker = scene.folder / "computing"
    run = await client.start(computing, str(marker), 2)
    neighbour = await client.start(computing, str(scene.folder / "neighbour"), 0.1)
    assert await neighbour.result() == str(scene.folder / "neighbour")
    await until(marker.exists, 10)
    os.kill(int(marker.read_text().split()[0]), signal.SIGKILL)
    assert await run.result() == str(marker)
    assert len(marker.read_text().split()) == 2
    host.terminate()
    assert await host.ended(10) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("end", [pytest.param(signal.SIGTERM, marks=thorough), signal.SIGKILL])
async def test_computing_processes_end_with_their_worker(
    scene: Scene, client: Client, end: signal.Signals
) -> None:
    host = await scene.host(drain=0.2)
    marker = scene.folder / "computing"
    await client.start(computing, str(marker), 60)
    await until(lambda: marker.exists() and marker.read_text(), 10)
    pid = int(marker.read_text())
    host.process.send_signal(end)
    await until(lambda: not alive(pid), 10)
    assert await host.ended(10) == (0 if end == signal.SIGTERM else -end)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@thorough
async def test_a_second_signal_ends_a_worker_whose_step_does_not_react(scene: Scene, client: Client) -> None:
    host = await scene.host(drain=0.5)
    await client.start(block_in_c, 60)
    await until(lambda: scene.ledger.starts(), 10)
    host.terminate()
    await until(lambda: "does not react to its cancel: step 'block_thread'" in host.said, 10)
    assert host.process.poll() is None
    host.terminate()
    assert await host.ended(5) == -signal.SIGTERM
