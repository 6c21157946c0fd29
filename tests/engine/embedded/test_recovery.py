from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from holdfast.engine.embedded import Attachment, attach, connection, read_info, stop
from holdfast.errors import Unavailable

from .conftest import processes, until


async def test_a_killed_server_is_back_on_its_port_within_five_seconds(home: Path) -> None:
    async with await attach(home) as place:
        before = place.info
        client = await Client.connect(before.address)
        os.kill(before.server_pid, signal.SIGKILL)
        assert await until(lambda: place.info.server_pid != before.server_pid, 5) < 5
        assert place.info.address == before.address
        assert place.info.supervisor_pid == before.supervisor_pid
        assert [run async for run in client.list_workflows()] == []


async def restarted(place: Attachment, server_pid: int) -> None:
    await until(lambda: place.info.server_pid != server_pid, 5)


async def test_a_server_that_is_killed_again_and_again_is_always_restarted(home: Path) -> None:
    async with await attach(home) as place:
        first = place.info
        for _ in range(4):
            killed = place.info.server_pid
            os.kill(killed, signal.SIGKILL)
            await restarted(place, killed)
        assert (place.info.address, place.info.supervisor_pid) == (first.address, first.supervisor_pid)


async def test_a_killed_supervisor_takes_its_server_along_and_both_come_back_once(home: Path) -> None:
    async with await attach(home) as one, await attach(home) as two, await attach(home) as three:
        before = one.info
        os.kill(before.supervisor_pid, signal.SIGKILL)
        for place in (one, two, three):
            await restarted(place, before.server_pid)
        assert one.info == two.info == three.info
        assert one.info.address == before.address
        assert sorted(processes(str(home))) == sorted([one.info.server_pid, one.info.supervisor_pid])


async def test_a_killed_supervisor_without_users_leaves_no_server(home: Path) -> None:
    async with await attach(home) as place:
        info = place.info
    os.kill(info.supervisor_pid, signal.SIGKILL)
    await until(lambda: not processes(str(home)), 2)
    assert read_info(home) is None
    async with await attach(home) as place:
        assert place.info.address == info.address


async def test_a_stop_on_request_is_not_undone_by_users(home: Path) -> None:
    async with await attach(home):
        assert await stop(home) is True
        assert processes(str(home)) == []
        await asyncio.sleep(0.5)
        assert processes(str(home)) == []
    assert await stop(home) is False


async def test_a_supervisor_that_does_not_answer_is_reported(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["holdfast.engine.embedded.attach"], "_END_SECONDS", 0.5)
    monkeypatch.setattr(connection, "_HANDSHAKE_SECONDS", 0.2)
    async with await attach(home) as place:
        os.kill(place.info.supervisor_pid, signal.SIGSTOP)
        try:
            assert read_info(home) is None
            with pytest.raises(Unavailable, match="does not end"):
                await stop(home)
        finally:
            os.kill(place.info.supervisor_pid, signal.SIGCONT)


async def test_data_is_kept(home: Path) -> None:
    async with await attach(home) as place:
        client = await Client.connect(place.info.address)
        await client.start_workflow("nobody-serves-this", "x", id="kept", task_queue="none")
        killed = place.info.server_pid
        os.kill(killed, signal.SIGKILL)
        await restarted(place, killed)
    await stop(home)
    async with await attach(home) as place:
        client = await Client.connect(place.info.address)
        described = await client.get_workflow_handle("kept").describe()
        assert described.status == WorkflowExecutionStatus.RUNNING


async def test_a_kill_during_the_first_start_does_not_spoil_the_home(home: Path) -> None:
    starting = asyncio.create_task(attach(home))
    await until((home / "temporal.db").exists, 5)
    for pid in processes(str(home)):
        os.kill(pid, signal.SIGKILL)
    async with await starting as place:
        await Client.connect(place.info.address)
    assert not (home / "temporal.db.creating").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\xff\xfe" * 9,
        b"[" * 5000,
        b"[1, 2]",
        b'{"version": 1, "port": "7233"}',
        b'{"version": 99, "port": 1, "ui_port": 2, "control_port": 3, "token": "x"}',
    ],
)
async def test_a_record_that_makes_no_sense_is_replaced(made_home: Path, content: bytes) -> None:
    home = made_home
    (home / "server.json").write_bytes(content)
    assert read_info(home) is None
    async with await attach(home) as place:
        assert json.loads((home / "server.json").read_text())["server_pid"] == place.info.server_pid


async def test_a_stale_record_kills_no_stranger_and_trusts_no_stranger(made_home: Path) -> None:
    home = made_home
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def answer() -> None:
            connection, _ = stranger.accept()
            with connection:
                heard.append(connection.recv(1000))
                connection.sendall(
                    b'{"type": "challenge", "version": 1, "nonce": "n", "proof": "p"}\n'
                    b'{"type": "server", "state": "ready", "address": "127.0.0.1:1", "ui_port": 1,'
                    b' "server_pid": 1, "supervisor_pid": 1}\n'
                )

        thread = threading.Thread(target=answer)
        thread.start()
        record = {
            "version": 1,
            "port": 0,
            "ui_port": 0,
            "control_port": stranger.getsockname()[1],
            "token": "the-secret",
            "supervisor_pid": os.getpid(),
            "server_pid": os.getpid(),
        }
        (home / "server.json").write_text(json.dumps(record))
        async with await attach(home) as place:
            await asyncio.to_thread(thread.join)
            assert place.info.server_pid in processes(str(home))
    assert b"the-secret" not in heard[0]


async def test_a_damaged_record_of_a_running_server_is_mended(home: Path) -> None:
    async with await attach(home) as place:
        (home / "server.json").write_text("garbage")
        async with await attach(home) as other:
            assert other.info == place.info
        (home / "server.json").unlink()
        async with await attach(home) as other:
            assert other.info == place.info


async def test_a_wrong_token_is_refused(home: Path) -> None:
    async with await attach(home, linger=timedelta(0)) as place:
        record = json.loads((home / "server.json").read_text())
        forged = home / "elsewhere"
        forged.mkdir()
        (forged / "server.json").write_text(json.dumps(record | {"token": "0" * 32}))
        assert read_info(forged) is None
        assert await stop(forged) is False
        assert read_info(home) == place.info


async def test_nonsense_on_the_control_port_harms_nobody(home: Path) -> None:
    async with await attach(home) as place:
        port = json.loads((home / "server.json").read_text())["control_port"]
        for nonsense in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"{}\n",
            b"x" * 200_000,
            b'{"type": "hello", "nonce": 1}\n',
        ):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(nonsense)
        assert read_info(home) == place.info


async def test_a_deleted_home_ends_its_server_and_a_user_gets_a_fresh_one(home: Path) -> None:
    async with await attach(home) as place:
        before = place.info
        shutil.rmtree(home)
        await until(lambda: place.info.supervisor_pid != before.supervisor_pid, 10)
        assert read_info(home) == place.info
        await until(lambda: before.server_pid not in processes("start-dev"), 5)
