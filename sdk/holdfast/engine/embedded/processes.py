"""Looking at, and ending, a process that this one did not start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_END_SECONDS = 5.0


def runs(pid: int, marks: Sequence[str]) -> bool:
    """Whether the process exists and its command line has all marks: ids are given to strangers again."""
    try:
        if sys.platform == "linux":
            # A zombie has an empty command line: it holds neither ports nor files.
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
            command = raw.replace(b"\0", b" ").decode(errors="replace")
        elif sys.platform == "win32":
            query = f"(Get-CimInstance Win32_Process -Filter 'ProcessId={pid}').CommandLine"
            command = subprocess.check_output(["powershell", "-NoProfile", "-Command", query], text=True)
        else:
            command = subprocess.check_output(["ps", "-ww", "-o", "command=", "-p", str(pid)], text=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return all(mark in command for mark in marks)


def end(pid: int, marks: Sequence[str]) -> None:
    """Kill the process and wait until it is gone, at most five seconds."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    deadline = time.monotonic() + _END_SECONDS
    while runs(pid, marks) and time.monotonic() < deadline:
        time.sleep(0.01)
