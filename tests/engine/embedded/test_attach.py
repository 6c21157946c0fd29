from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from holdfast.engine import embedded
from holdfast.engine.embedded import attach, read_info, stop
from holdfast.errors import InvalidConfiguration, Unavailable

from .conftest import processes, until

USER = """
import asyncio, sys
from pathlib import Path
from holdfast.engine.embedded import attach

async def main():
    async with await attach(Path(sys.argv[1])) as place:
        print(place.info.address, place.info.server_pid, place.info.supervisor_pid, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


def start_user(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USER, str(home)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_starts_a_server_that_serves_the_namespace_with_our_retention_and_attributes(
    home: Path,
) -> None:
    async with await attach(home) as place:
        client = await Client.connect(place.info.address, namespace=place.info.namespace)
        described = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace="default")
        )
        assert described.config.workflow_execution_retention_ttl.ToTimedelta() == timedelta(days=30)
        assert [run async for run in client.list_workflows("HoldfastPaused = true")] == []
        assert [run async for run in client.list_workflows("HoldfastWaiting = 'approval'")] == []
        assert place.info.home == home
        assert place.info.blobs.is_dir()


async def test_a_second_user_gets_the_same_server(home: Path) -> None:
    async with await attach(home) as first, await attach(home, start=False) as second:
        assert first.info == second.info == read_info(home)


async def test_six_processes_that_start_at_once_get_one_server(home: Path) -> None:
    users = [start_user(home) for _ in range(6)]
    try:
        answers = [await asyncio.to_thread(user.stdout.readline) for user in users if user.stdout]
        assert len(set(answers)) == 1
        assert answers[0].startswith("127.0.0.1:")
        server, supervisor = map(int, answers[0].split()[1:])
        assert set(processes(str(home))) == {server, supervisor, *(user.pid for user in users)}
    finally:
        exit_codes = [user.communicate("\n") and user.returncode for user in users]
    assert exit_codes == [0] * 6


async def test_homes_that_start_at_once_get_different_ports(tmp_path: Path, home: Path) -> None:
    places = await asyncio.gather(*(attach(home / name) for name in "abc"))
    try:
        assert len({place.info.address for place in places}) == 3
        assert len({place.info.ui_url for place in places}) == 3
    finally:
        for place in places:
            await place.close()


async def test_only_attaching_to_a_home_without_server_says_what_to_do(home: Path) -> None:
    with pytest.raises(Unavailable, match="holdfast dev"):
        await attach(home, start=False)
    assert home.name not in os.listdir(home.parent)
    assert read_info(home) is None
    assert await stop(home) is False


async def test_the_server_outlives_its_user_for_the_linger_and_then_ends(home: Path) -> None:
    async with await attach(home, linger=timedelta(seconds=1)) as place:
        pids = [place.info.server_pid, place.info.supervisor_pid]
    await asyncio.sleep(0.5)
    assert sorted(processes(str(home))) == sorted(pids)
    async with await attach(home, linger=timedelta(seconds=0)) as again:
        assert again.info.server_pid == pids[0]
        await asyncio.sleep(1)
    assert await until(lambda: not processes(str(home)), 5) < 4
    assert read_info(home) is None


async def test_a_killed_user_is_noticed_at_once(home: Path) -> None:
    user = start_user(home)
    assert user.stdout
    assert user.stdin
    await asyncio.to_thread(user.stdout.readline)
    async with await attach(home, linger=timedelta(0)):
        user.kill()
        user.wait()
    user.stdin.close()
    user.stdout.close()
    # The killed user's minute counts.
    await asyncio.sleep(0.3)
    assert read_info(home) is not None


async def test_the_ports_of_a_home_stay_the_same(home: Path, tmp_path: Path) -> None:
    async with await attach(home) as place:
        first = place.info
    assert await stop(home) is True
    other = home / "other"
    async with await attach(home) as place:
        assert (place.info.address, place.info.ui_url) == (first.address, first.ui_url)
        async with await attach(other) as elsewhere:
            assert elsewhere.info.address != first.address


async def test_a_recorded_port_that_is_taken_is_replaced(home: Path) -> None:
    async with await attach(home) as place:
        first = place.info.address
    await stop(home)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", int(first.split(":")[1])))
        squatter.listen()
        async with await attach(home) as place:
            assert place.info.address != first
            await Client.connect(place.info.address)


@pytest.mark.parametrize("name", ["a b", "q?x=1", "50%20#é"])
async def test_a_home_may_have_any_name(home: Path, name: str) -> None:
    async with await attach(home / name):
        assert (home / name / "temporal.db").exists()
    assert os.listdir(home) == [name]


async def test_only_the_owner_can_read_a_home(home: Path) -> None:
    async with await attach(home):
        modes = {name: stat.S_IMODE((home / name).stat().st_mode) for name in os.listdir(home)}
        assert stat.S_IMODE(os.stat(home).st_mode) == 0o700
        assert {"server.json", "temporal.db", "server.log"} <= modes.keys()
        assert {
            name: oct(mode) for name, mode in modes.items() if mode & 0o077 and name != ".gitignore"
        } == {}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_everything_listens_on_loopback_only(home: Path) -> None:
    async with await attach(home) as place:
        addresses = listening(place.info.server_pid) | listening(place.info.supervisor_pid)
    assert len(addresses) > 3
    assert {address for address, _ in addresses} == {"0100007F"}


def listening(pid: int) -> set[tuple[str, str]]:
    """The hexadecimal addresses and ports on which a process listens."""
    inodes = {
        os.readlink(fd)[len("socket:[") : -1]
        for fd in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(fd).startswith("socket:[")
    }
    found: set[tuple[str, str]] = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and (fields[3] == "0A" or table.startswith("udp")):
                address, port = fields[1].split(":")
                found.add((address, port))
    return found


def test_the_supervisor_loads_neither_temporal_nor_pydantic() -> None:
    # Imported here, it would replace the packages that the other tests use.
    bootstrap = str(Path(embedded.__file__).with_name("bootstrap.py"))
    check = (
        f"import runpy, sys; runpy.run_path({bootstrap!r}, run_name='x'); "
        "import holdfast.engine.embedded.supervisor; import json; print(json.dumps(sorted(sys.modules)))"
    )
    out = subprocess.check_output([sys.executable, "-I", "-S", "-c", check], text=True)
    roots = {name.split(".")[0] for name in json.loads(out)}
    assert roots & {"temporalio", "pydantic", "httpx", "google"} == set()


async def test_from_nothing_to_attached_is_quick(home: Path) -> None:
    began = time.monotonic()
    async with await attach(home):
        # About 0.3 s on an idle machine; the bound leaves room for a busy one.
        assert time.monotonic() - began < 5


async def test_options_that_clash_are_refused(home: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="in memory"):
        await attach(home, time_skipping=True)
    with pytest.raises(InvalidConfiguration, match="in memory"):
        await attach(None, start=False)
