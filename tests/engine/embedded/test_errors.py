from __future__ import annotations

import logging
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from holdfast.engine.embedded import attach, find_binary, launch, ports
from holdfast.errors import InvalidConfiguration, Unavailable

from .conftest import processes, until


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_binary_of_this_environment_is_found() -> None:
    assert find_binary().name.startswith("temporal")


def test_an_explicit_binary_wins(tmp_path: Path) -> None:
    binary = script(tmp_path / "mine", "#!/bin/sh\n")
    assert find_binary(binary) == Path(binary)


@pytest.mark.parametrize("name", ["missing", "not-executable", "."])
def test_an_explicit_binary_that_cannot_run_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "not-executable").write_text("x")
    with pytest.raises(InvalidConfiguration, match=r"HOLDFAST_TEMPORAL_BINARY.*holdfast\[embedded\]"):
        find_binary(str(tmp_path / name))


def test_no_binary_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_path", (tmp_path / "none").joinpath)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Unavailable, match=r"pip install 'holdfast\[embedded\]'"):
        find_binary()


async def test_a_binary_that_ends_at_once_shows_its_last_lines(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = script(tmp_path / "broken", "#!/bin/sh\necho first; echo no such flag >&2; exit 7\n")
    monkeypatch.setenv("HOLDFAST_TEMPORAL_BINARY", binary)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"(?s)exit code 7.*server\.log.*no such flag"):
        await attach(home)
    assert time.monotonic() - began < 5


async def test_a_file_that_is_no_program_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = script(tmp_path / "text", "\x00\x01not a program")
    monkeypatch.setenv("HOLDFAST_TEMPORAL_BINARY", binary)
    with pytest.raises(Unavailable, match="cannot be run"):
        await attach(home)


async def test_a_damaged_database_is_named_and_kept(made_home: Path) -> None:
    home = made_home
    (home / "temporal.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(Unavailable, match=r"database is damaged: restore .*temporal\.db"):
        await attach(home)
    assert (home / "temporal.db").read_bytes() == b"garbage" * 1000


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/holdfast"])
async def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidConfiguration, match=r"cannot be written.*HOLDFAST_HOME"):
        await attach(tmp_path / place)


async def test_a_full_disk_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "MIN_FREE_BYTES", 1 << 62)
    with pytest.raises(Unavailable, match="MB are free on the disk"):
        await attach(home)


async def test_a_failed_start_in_memory_leaves_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_TEMPORAL_BINARY", script(tmp_path / "broken", "#!/bin/sh\nexit 7\n"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(Unavailable):
        await attach(None)
    assert os.listdir(tmp_path) == ["broken"]
    await until(lambda: not processes(str(tmp_path)), 2)


def test_a_range_without_a_free_port_is_noticed() -> None:
    first = ports.reserve(ports.private_start())
    assert first is not None
    assert ports.reserve(first.port, 1) is None
    second = ports.reserve(first.port)
    assert second is not None
    assert second.port > first.port
    first.close()
    second.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port cannot be held for a server to come")
def test_a_reserved_port_is_free_for_its_server_only() -> None:
    held = ports.reserve(ports.private_start())
    assert held is not None
    assert ports.reserve(held.port, 1) is None
    with socket.create_server(("127.0.0.1", held.port)):
        assert ports.reserve(held.port, 1) is None
    assert ports.reserve(held.port, 1) is None
    held.close()


async def test_another_port_than_the_usual_one_is_announced(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "holdfast"):
        async with await attach(home / "one") as first, await attach(home / "two") as second:
            ports_of = {server.info.address.split(":")[1] for server in (first, second)}
    # At least one of two: another process may have given the usual one back in between.
    for port in ports_of - {"7233"}:
        assert any(f"listens on port {port}" in record.getMessage() for record in caplog.records)
    assert len(ports_of) == 2
