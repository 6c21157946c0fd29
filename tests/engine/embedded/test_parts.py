"""The parts that need no server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from holdfast.engine.embedded import logs, processes, protocol
from holdfast.engine.embedded.home import Record
from holdfast.engine.embedded.lock import FileLock


def test_a_lock_is_exclusive_within_a_process_and_free_after_release(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.try_acquire()
    assert not two.try_acquire()
    assert not two.acquire(0.05)
    one.release()
    assert two.try_acquire()
    two.release()


def test_a_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from holdfast.engine.embedded.lock import FileLock;"
        "lock = FileLock(Path(sys.argv[1])); lock.try_acquire(); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    lock = FileLock(tmp_path / "lock")
    assert not lock.try_acquire()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert lock.try_acquire()
    lock.release()


def test_a_lock_notices_that_its_file_was_replaced(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert not lock.in_place()
    assert lock.try_acquire()
    assert lock.in_place()
    (tmp_path / "lock").unlink()
    assert not lock.in_place()
    (tmp_path / "lock").touch()
    assert not lock.in_place()
    lock.release()


def test_a_record_is_read_as_written_and_private(tmp_path: Path) -> None:
    record = Record(port=7233, ui_port=8233, control_port=5, token="secret", supervisor_pid=1, server_pid=2)
    record.write(tmp_path / "server.json")
    assert Record.read(tmp_path / "server.json") == record
    assert (tmp_path / "server.json").stat().st_mode & 0o077 == 0
    assert "secret" not in repr(record)


def test_proofs_hold_for_one_role_nonce_and_token() -> None:
    proof = protocol.prove("token", "client", "nonce")
    assert protocol.proves("token", "client", "nonce", proof)
    assert not protocol.proves("token", "supervisor", "nonce", proof)
    assert not protocol.proves("token", "client", "other", proof)
    assert not protocol.proves("other", "client", "nonce", proof)
    assert not protocol.proves("token", "client", "nonce", None)
    assert not protocol.proves("token", "client", "nonce", "é")


def test_lines_that_are_no_messages_are_none() -> None:
    assert protocol.decode(protocol.encode("hello", version=1)) == {"type": "hello", "version": 1}
    for line in (b"", b"\xff", b"[]", b"{}", b'{"type": 1}', b"[" * 100_000):
        assert protocol.decode(line) is None


def test_a_long_log_is_rotated_and_the_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with open(log, "ab", buffering=0) as writer:
        writer.write(b"x" * (11 * 1024 * 1024) + b"\nend\n")
        logs.rotate(log)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    previous = tmp_path / "server.log.1"
    assert previous.stat().st_size <= 10 * 1024 * 1024
    assert previous.read_bytes().endswith(b"\nend\n")


def test_the_tail_of_a_log_leaves_out_the_frames_of_a_panic(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("old\none\ntwo\npanic: nil\n\ngoroutine 1 [running]:\nmain.main()\n")
    tail = logs.tail(log, start=4)
    assert tail == f"\nThe last lines of {log}:\n  one\n  two\n  panic: nil"
    assert logs.tail(tmp_path / "none") == ""


def test_a_process_is_known_by_its_command_line() -> None:
    assert processes.runs(os.getpid(), [])
    assert not processes.runs(os.getpid(), ["no such mark"])
    assert not processes.runs(2**22 + 1, [])
