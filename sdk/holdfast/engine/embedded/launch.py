"""Starting a supervisor, and the checks that give an early, clear error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from holdfast.errors import InvalidConfiguration, Unavailable

from .home import Home
from .logs import rotate, tail

MIN_FREE_BYTES = 100 * 1024 * 1024
_ANSWER_SECONDS = 20.0


def prepare(home: Home) -> None:
    """Create the home for its owner only and check that it can be used.

    Raises:
        InvalidConfiguration: It cannot be created or written.
        Unavailable: Its disk is nearly full.
    """
    try:
        if not home.root.exists():
            home.root.mkdir(parents=True, mode=0o700, exist_ok=True)  # others may start at this moment
            home.root.chmod(0o700)
            # Whatever repository the home lies in should not take up its data.
            (home.root / ".gitignore").write_text("*\n")
        home.blobs.mkdir(mode=0o700, exist_ok=True)
        probe = home.root / f".writable.{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise InvalidConfiguration(
            f"The home {str(home.root)!r} cannot be written: {error.strerror or error}. "
            "Choose another directory with HOLDFAST_HOME or `home=`, or correct its permissions."
        ) from error
    free = shutil.disk_usage(home.root).free
    if free < MIN_FREE_BYTES:
        raise Unavailable(
            f"Only {free / 1e6:.0f} MB are free on the disk of {str(home.root)!r}, at least "
            f"{MIN_FREE_BYTES / 1e6:.0f} MB are needed: free some space or set HOLDFAST_HOME."
        )


def launch(home: Home, binary: Path, *, in_memory: bool, time_skipping: bool, index: bool = False) -> None:
    """Start a detached supervisor and wait until it accepts connections.

    Args:
        home: What it owns.
        binary: Of Temporal.
        in_memory: Whether nothing is kept.
        time_skipping: Whether the server can skip time.
        index: Whether it keeps an indexer up, on this interpreter.

    Raises:
        Unavailable: It ended instead.
    """
    if not sys.executable:
        raise Unavailable(
            "This program embeds Python and cannot start one. Start a server of this home from a shell "
            "(holdfast dev), then attach to it."
        )
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("bootstrap.py"))]
    command += ["--home", str(home.root), "--binary", str(binary)]
    if in_memory:
        command.append("--in-memory")
    if time_skipping:
        command.append("--time-skipping")
    if index:
        command += ["--indexer", sys.executable]
    rotate(home.supervisor_log)
    fd = os.open(home.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=fd,
            cwd=home.root,
            start_new_session=True,
            creationflags=_detached_flags(),
        )
    except OSError as error:
        raise Unavailable(f"The supervisor could not be started with {sys.executable!r}: {error}") from error
    finally:
        os.close(fd)
    answer = _answer(process)
    if answer.get("type") != "listening":
        reason = answer.get("message", "it ended without a word")
        raise Unavailable(
            f"The supervisor of {home.root} did not start: {reason}.{tail(home.supervisor_log)}"
        )


def _detached_flags() -> int:
    if sys.platform == "win32":
        return subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    return 0


def _answer(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The supervisor's one line. It forks away at once, so no child is left to be reaped (not on Windows)."""
    if sys.platform == "win32":
        assert process.stdout is not None
        out = process.stdout.readline()
        process.stdout.close()
        # Says "do not wait for it": the supervisor outlives us.
        process.returncode = 0
    else:
        try:
            out, _ = process.communicate(timeout=_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return {}
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        return {}
    return answer
