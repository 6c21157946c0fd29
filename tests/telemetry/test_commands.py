"""The line of `worker` and `dev`, and `runs logs`, as commands."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from tests.engine.conftest import free_port
from tests.server.conftest import Cli, cli, cli_home

__all__ = ["cli", "cli_home"]

TALKS = """
import logging
from holdfast import step, workflow

@step
async def talk(word: str) -> str:
    logging.getLogger("talks").info("the word is %s", word)
    return word

@workflow
async def talks(word: str) -> str:
    return await talk(word)
"""


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, cli: Cli, *arguments: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cli.folder)
            environment = {**os.environ, "HOLDFAST_HOME": str(cli.home), "TERM": "xterm", "COLUMNS": "200"}
            os.execve(sys.executable, [sys.executable, "-m", "holdfast_server.cli", *arguments], environment)
        self.output = ""

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Read until the output has it."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            assert time.monotonic() < end, self.output
            self._read()
        return self.output

    def _read(self) -> bool:
        readable, _, _ = select.select([self.fd], [], [], 0.2)
        try:
            data = os.read(self.fd, 65536) if readable else b""
        except OSError:  # the other end is closed
            return False
        self.output += data.decode("utf-8", "replace")
        return bool(data) or not readable

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        while self._read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def talking(cli: Cli) -> Cli:
    (cli.folder / "talks.py").write_text(TALKS, "utf-8")
    return cli


def test_a_worker_renews_one_line_and_keeps_logs_and_metrics(talking: Cli, tmp_path: Path) -> None:
    queue, port = f"q{uuid.uuid4().hex}", free_port()
    arguments = ("talks.py", "--queue", queue, "--metrics", f"127.0.0.1:{port}")
    terminal = Terminal(talking, "worker", *arguments)
    try:
        terminal.until(r"0\.0 steps/s \| 0\.0 runs/s \| .*0/100 slots")
        run = f"talk-{uuid.uuid4().hex}"
        started = talking(
            "run", "talks.py:talks", "-i", '"moo"', "--id", run, "--queue", queue, "--no-worker"
        )
        assert started.returncode == 0, started.stderr
        # The log stands above the line, which is wiped out before and written again after it.
        terminal.until(r"\r\x1b\[2K[^\r\n]*INFO +the word is moo \(run=talk-\w+ step=talk\)[^\r\n]*\r\n")
        terminal.until(r"0\.[1-9] runs/s")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b"holdfast_step_duration_seconds" in answer.read()
    finally:
        code = terminal.stop()
    assert code == 0
    assert terminal.output.rfind("\x1b[?25l") < terminal.output.rfind("\x1b[?25h")  # the cursor is there
    shown = talking("runs", "logs", run, "--follow")
    assert re.search(r"INFO +talk: the word is moo", shown.stdout), shown
    (line,) = talking("runs", "logs", run, "--json", "--step", "talk").stdout.splitlines()
    assert json.loads(line)["message"] == "the word is moo"
    assert talking("runs", "logs", run, "--step", "other").stdout == ""


def test_a_quiet_worker_writes_no_line(talking: Cli) -> None:
    terminal = Terminal(talking, "worker", "talks.py", "--queue", f"q{uuid.uuid4().hex}", "--quiet")
    try:
        terminal.until("serving talks")
    finally:
        assert terminal.stop() == 0
    assert "steps/s" not in terminal.output


def test_a_wrong_log_format_and_a_taken_port_are_told_in_a_line(
    talking: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = talking("worker", "talks.py", "--metrics", "nonsense")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "write host:port" in done.stderr
    monkeypatch.setenv("HOLDFAST_LOG_FORMAT", "xml")
    done = talking("runs", "list")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "HOLDFAST_LOG_FORMAT='xml': use text or json" in done.stderr
