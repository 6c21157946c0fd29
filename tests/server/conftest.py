"""The command line as its users have it: as a process, with a home of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast import Client
from holdfast.engine import embedded
from holdfast_server.cli.app import app

FLOWS = """
import asyncio
from datetime import timedelta
from holdfast import Permanent, approval, step, workflow

@step
async def greet(name: str) -> str:
    print("greeting", name)
    return f"Hello, {name}!"

@step
async def refuse(reason: str) -> None:
    raise Permanent(reason)

@step
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slow"

@workflow
async def hello(name: str, mark: str = "") -> str:
    return await greet(name) + mark

@workflow
async def failing(reason: str) -> None:
    await refuse(reason)

@workflow
async def patient() -> str:
    decision = await approval("Ship it?", timeout=timedelta(days=2))
    return f"{decision.approved} by {decision.by}"

@workflow
async def sleepy(seconds: float) -> str:
    return await slow(seconds)
"""


@dataclass(frozen=True, kw_only=True)
class Cli:
    """Runs `holdfast` in a folder, against a home."""

    home: Path
    folder: Path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end: in this process, which is faster, unless it imports the user's code."""
        if arguments[0] in ("run", "worker", "dev"):
            return self.process(*arguments)
        root, level = logging.getLogger(), logging.getLogger("holdfast").level
        handlers = root.handlers[:]
        try:
            with contextlib.chdir(self.folder):
                done = CliRunner().invoke(app, list(arguments), env={"HOLDFAST_HOME": str(self.home)})
        finally:
            root.handlers[:] = handlers
            logging.getLogger("holdfast").setLevel(level)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def process(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "holdfast_server.cli", *arguments],
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def json(self, *arguments: str) -> Any:
        """The JSON of a command that succeeds."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def background(self, *arguments: str) -> Generator[Background]:
        """A command that goes on; it is ended with the block."""
        log = self.folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "holdfast_server.cli", *arguments],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # Tests that a shell runs in the background ignore Ctrl+C, and what they start inherits that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        started = Background(process=process, log=log)
        try:
            yield started
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, "HOLDFAST_HOME": str(self.home)}


@dataclass(frozen=True, kw_only=True)
class Background:
    """A command that goes on."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text("utf-8")

    def until(self, reached: Callable[[str], bool], seconds: float = 30) -> str:
        """Wait until its output is as wanted."""
        end = time.monotonic() + seconds
        while not reached(self.output):
            assert time.monotonic() < end, self.output
            time.sleep(0.05)
        return self.output

    def stop(self, name: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(name)
        return self.process.wait(30)


@contextlib.contextmanager
def held(home: Path) -> Generator[None]:
    """Keep the server of a home up, from a thread."""
    up, over = threading.Event(), threading.Event()

    async def hold() -> None:
        async with Client.embedded(home):
            up.set()
            await asyncio.to_thread(over.wait)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(asyncio.run, hold())
        try:
            while not up.wait(0.1):
                if holding.done():
                    break
            yield
        finally:
            over.set()
            holding.result()


@pytest.fixture(scope="session")
def cli_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home, and so one server, for all tests that can share it.

    A server stops a minute after its last user, and the next command may only read: so it has a user all the time.
    """
    folder = tmp_path_factory.mktemp("cli") / ".holdfast"
    with held(folder):
        yield folder
    asyncio.run(embedded.stop(folder))


@pytest.fixture
def cli(cli_home: Path, tmp_path: Path) -> Cli:
    """The command line in a folder with `flows.py`."""
    (tmp_path / "flows.py").write_text(FLOWS, "utf-8")
    return Cli(home=cli_home, folder=tmp_path)


@pytest.fixture(scope="session")
def finished_run(cli_home: Path) -> str:
    """The id of a completed run of `hello("Ada")`; its server is up."""
    (cli_home.parent / "flows.py").write_text(FLOWS, "utf-8")
    run = "hello-finished"
    done = Cli(home=cli_home, folder=cli_home.parent)("run", "flows.py:hello", "-i", '"Ada"', "--id", run)
    assert done.returncode == 0, done.stderr
    return run
