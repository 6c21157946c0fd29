"""Where a worker process is put together: apps, a client, options, and the word that it serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from holdfast import Client, Worker
from holdfast.chaos.profiles import Profile
from holdfast.errors import FixInput
from holdfast_server.apps import App, ImportFailed, users_files
from holdfast_server.samples import run_command

_READY_POLL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker process serves; `None` leaves it to `Worker`."""

    queues: Sequence[str] = ()
    health_port: int | None = None
    deployment: str | None = None
    build_id: str | None = None
    drain: timedelta = timedelta(seconds=30)
    max_steps: int = 100
    chaos: Profile | str | None = None
    seed: int | None = None


def make_worker(client: Client, apps: Sequence[App], options: WorkerOptions) -> Worker:
    """A worker for the apps.

    Raises:
        InvalidWorkflow, InvalidStep: Something in them cannot work.
        InvalidConfiguration: Options clash.
    """
    return Worker(
        client,
        [item for app in apps for item in app.served],
        queues=options.queues or None,
        health_port=options.health_port,
        deployment=options.deployment,
        build_id=options.build_id,
        drain=options.drain,
        max_steps=options.max_steps,
        chaos=options.chaos,
        seed=options.seed,
    )


async def serve(
    worker: Worker, ready: Callable[[], None], *, shown: AbstractAsyncContextManager[None] | None = None
) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain.

    Args:
        worker: What serves.
        ready: Called once it polls.
        shown: Is open while it serves.

    Raises:
        Unavailable: The worker stopped by itself.
    """
    serving = asyncio.create_task(worker.run())
    while not worker.polling and not serving.done():
        await asyncio.wait([serving], timeout=_READY_POLL_SECONDS)
    if not serving.done():
        ready()
    async with shown or nullcontext():
        await serving


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker process tells the process that started it, in a file."""

    files: list[str]
    """The user's files that it has imported, or failed to."""

    commands: list[str]
    """Command lines that start runs of what it serves."""

    polling: bool

    def write(self, path: Path) -> None:
        """Put it in place at once."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(vars(self)), "utf-8")
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: Path) -> Report | None:
        """The report, if there is one yet."""
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return None


@contextmanager
def reporting(path: Path | None) -> Generator[None]:
    """Report the files that have to change when the block finds that the apps cannot be served."""
    try:
        yield
    except FixInput as error:
        if path is not None:
            named = error.files if isinstance(error, ImportFailed) else []
            files = sorted(str(file) for file in {*users_files(), *named})
            Report(files=files, commands=[], polling=False).write(path)
        raise


def report_of(apps: Sequence[App]) -> Report:
    """The report of a worker that serves these apps."""
    commands = [run_command(app.name, workflow) for app in apps for workflow in app.workflows.values()]
    return Report(files=[str(file) for file in users_files()], commands=commands, polling=True)


def stop_with_parent() -> None:
    """Drain when the other end of stdin is closed, as it is when the process that holds it has ended."""

    def wait() -> None:
        while sys.stdin.buffer.read(1024):
            pass
        if sys.platform == "win32":
            signal.raise_signal(signal.SIGINT)
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="holdfast-parent", daemon=True).start()
