from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from temporalio.client import Client

from holdfast.engine.embedded import attach

from .conftest import processes, until

USER = """
import asyncio
from holdfast.engine.embedded import attach

async def main():
    place = await attach(None)
    print(place.info.blobs, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_server_in_memory_leaves_nothing_behind() -> None:
    async with await attach(None) as place:
        folder = place.info.blobs.parent
        assert place.info.home is None
        assert place.info.blobs.is_dir()
        assert not (folder / "temporal.db").exists()
        await Client.connect(place.info.address)
    assert not folder.exists()
    await until(lambda: not processes(str(folder)), 2)


def start_user() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", USER], stdout=subprocess.PIPE, text=True)


async def test_it_ends_with_a_user_that_is_killed() -> None:
    user = start_user()
    assert user.stdout
    folder = Path((await asyncio.to_thread(user.stdout.readline)).strip()).parent
    user.stdout.close()
    assert len(processes(str(folder))) == 2
    user.kill()
    user.wait()
    await until(lambda: not processes(str(folder)) and not folder.exists(), 3)


async def test_users_in_memory_do_not_share_a_server() -> None:
    async with await attach(None) as one, await attach(None) as two:
        assert one.info.address != two.info.address


async def test_it_comes_back_empty_when_killed() -> None:
    async with await attach(None) as place:
        before = place.info
        os.kill(before.supervisor_pid, signal.SIGKILL)
        await until(lambda: place.info.supervisor_pid != before.supervisor_pid, 5)
        assert place.info.address == before.address
        folder = place.info.blobs.parent
    assert not folder.exists()


async def test_time_can_be_skipped_on_request() -> None:
    async with await attach(None, time_skipping=True) as place:
        assert place.info.server_pid in processes("frontend.WorkflowTimeSkippingEnabled=true")
