"""What is left of a server when its clients are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast import Client
from holdfast.engine import embedded

from .conftest import ROOT, Scene, processes, thorough, until
from .served import waiting

IN_MEMORY = """
import asyncio, sys
from holdfast import Client, Worker
from tests.faults.served import waiting

async def main():
    async with Client.embedded(home=None) as client, Worker(client, [waiting]):
        run = await client.start(waiting, ["go"])
        await run.send("go", 1)
        print(await run.result(), client.address, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("killed", [pytest.param(False, marks=thorough), True])
async def test_a_server_in_memory_is_gone_with_its_client(tmp_path: Path, killed: bool) -> None:
    script = tmp_path / "in_memory.py"
    script.write_text(IN_MEMORY)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    client = subprocess.Popen(  # noqa: ASYNC220 - only forks
        [sys.executable, str(script)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin
    assert client.stdout
    try:
        assert client.stdout.readline().startswith("[1] 127.0.0.1:")
        mark = str(tmp_path / "holdfast-")
        assert len(processes(mark)) == 2
        if killed:
            client.kill()
        else:
            client.stdin.write("\n")
            client.stdin.flush()
        assert client.wait(20) == (-signal.SIGKILL if killed else 0)
        await until(lambda: not processes(mark) and not list(tmp_path.glob("holdfast-*")), 10)
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()


@thorough
async def test_a_home_keeps_runs_and_their_messages_over_a_stop(scene: Scene) -> None:
    async with scene.client() as client:
        open_run = await client.start(waiting, ["one", "two"], id="kept")
        await open_run.send("one", 1)
    assert await embedded.stop(scene.home) is True
    assert processes(str(scene.home)) == []
    async with scene.client() as client:
        await scene.host()
        run = client.get("kept", waiting)
        await run.send("two", 2)
        assert await run.result() == [1, 2]


@thorough
async def test_a_client_outlives_a_server_that_is_stopped_and_started_by_another(scene: Scene) -> None:
    async with scene.client() as client:
        await scene.host()
        run = await client.start(waiting, ["one"])
        assert await embedded.stop(scene.home) is True
        async with Client.embedded(home=scene.home) as other:
            assert other.address == client.address
            await other.get(run.id).send("one", 1)
            assert await run.result() == [1]
