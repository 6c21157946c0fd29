"""Processes get no more memory than they are allowed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from holdfast.spec.child_memory import MAX_MEMORY_BYTES, limit_memory

TAKES_TOO_MUCH = f"input(); bytearray({MAX_MEMORY_BYTES})"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_a_process_that_wants_more_than_its_limit_fails() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TAKES_TOO_MUCH], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        limit_memory(process.pid)
        _, errors = process.communicate(b"\n", timeout=30)
    assert process.returncode == 1
    assert b"MemoryError" in errors


def test_a_process_that_has_ended_is_left_alone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    limit_memory(process.pid)
    assert process.returncode == 0
