"""What asks before it does something to many: a no, and Ctrl-C, mean the same to each command."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.server.conftest import Cli

from holdfast.store.database import FILE_NAME, Database


@contextmanager
def asked(cli: Cli, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A command on a terminal, and the other end of that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast_server.cli", *arguments],
        cwd=cli.folder,
        env={**os.environ, "HOLDFAST_HOME": str(cli.home)},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background ignore Ctrl+C, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield process, ours
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)


def told(process: subprocess.Popen[str], text: str) -> None:
    """Read until it has asked."""
    assert process.stderr is not None
    read, end = "", time.monotonic() + 60
    while text not in read:
        assert time.monotonic() < end, read
        char = process.stderr.read(1)
        assert char, read
        read += char


@pytest.fixture
def own(cli: Cli, tmp_path: Path) -> Cli:
    """The command line with a home that has a history, and no server."""
    home = tmp_path / "own"
    Database.open(home / FILE_NAME).close()
    return replace(cli, home=home)


def test_a_no_does_nothing_and_is_wrong_use(own: Cli) -> None:
    with asked(own, "db", "reset") as (process, terminal):
        os.write(terminal, b"n\n")
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: nothing was done" in errors


def test_ctrl_c_at_the_question_ends_the_command_at_once(own: Cli) -> None:
    with asked(own, "db", "reset") as (process, _):
        told(process, "Delete everything?")
        end = time.monotonic() + 30
        while process.poll() is None:  # one that comes just before it reads is not seen by Python
            assert time.monotonic() < end
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
    assert process.returncode == 130


def test_a_no_to_a_backfill_is_the_same(cli: Cli) -> None:
    document = (
        '{"name": "doc", "nodes": [{"id": "a", "type": "transform", "config": {"expression": "input"}}]}'
    )
    (cli.folder / "doc.json").write_text(document, "utf-8")
    assert cli("triggers", "create", "asked", "doc.json", "--cron", "0 9 * * *").returncode == 0
    range_of = ("--from", "2026-11-02", "--to", "2026-11-08")
    with asked(cli, "triggers", "backfill", "asked", *range_of) as (process, terminal):
        os.write(terminal, b"n\n")
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Start 6 runs?" in errors) == (2, True)
    assert cli("triggers", "delete", "asked").returncode == 0
