"""Real servers on free ports: every test leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest


def processes(mark: str) -> list[int]:
    """The processes that have `mark` in their command line."""
    found: list[int] = []
    if Path("/proc/self/cmdline").exists():
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "cmdline").read_bytes().decode(errors="replace"):
                    found.append(int(folder.name))
    else:
        lines = subprocess.check_output(["ps", "-axww", "-o", "pid=,command="], text=True).splitlines()
        found.extend(int(line.split()[0]) for line in lines if mark in line)
    return [pid for pid in found if pid != os.getpid()]


async def until(condition: Callable[[], object], seconds: float) -> float:
    """Wait for a condition; returns how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not after {seconds} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that does not exist yet. What runs for it at the end of the test is killed."""
    folder = tmp_path / "home"
    yield folder
    deadline = time.monotonic() + 10
    while left := processes(str(folder)):
        assert time.monotonic() < deadline, f"processes {left} do not end"
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


@pytest.fixture
def made_home(home: Path) -> Path:
    """A home that exists and is empty."""
    home.mkdir()
    return home
