"""One line that tells what a worker does: renewed in a terminal, a log message now and then elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from holdfast import Worker
from holdfast.engine.telemetry.figures import WorkerFigures
from holdfast_server.cli.output import stderr

logger = logging.getLogger("holdfast.worker")

_RENEWED_SECONDS: Final = 1.0
_LOGGED_SECONDS: Final = 30.0


@asynccontextmanager
async def live_line(worker: Worker, *, quiet: bool) -> AsyncGenerator[None]:
    """Show the line while the worker takes work. What is printed meanwhile goes above it.

    Args:
        worker: One that polls.
        quiet: Whether to show nothing.
    """
    console = stderr()
    if quiet:
        yield
        return
    telling = asyncio.create_task(_renew(worker, console) if console.is_terminal else _log(worker))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait([telling])


async def _renew(worker: Worker, console: Console) -> None:
    with Live(console=console, transient=True, auto_refresh=False) as live:
        console.show_cursor(True)  # a worker that is killed would leave the terminal without one
        while worker.polling:
            text = Text(line_of(worker.figures), style="dim", no_wrap=True, overflow="ellipsis")
            live.update(text, refresh=True)
            await asyncio.sleep(_RENEWED_SECONDS)


async def _log(worker: Worker, seconds: float = _LOGGED_SECONDS) -> None:
    seen = (0, 0)
    while worker.polling:
        await asyncio.sleep(seconds)
        now = worker.figures
        if now.slots_used or (now.steps_count, now.runs_count) != seen:
            logger.info("%s", line_of(now), extra=now.to_dict())
        seen = (now.steps_count, now.runs_count)


def line_of(now: WorkerFigures) -> str:
    """The figures as people read them."""
    parts = (
        f"{now.steps_per_second:.1f} steps/s",
        f"{now.runs_per_second:.1f} runs/s",
        f"p50 {_duration(now.p50_ms)}",
        f"p95 {_duration(now.p95_ms)}",
        f"{now.failed_count} failed",
        f"{now.slots_used}/{now.slots_count} slots",
        f"lag {_duration(now.lag_ms)}",
        f"cpu {now.cpu_percent:.0f} %",
        f"{now.memory_bytes / 1024**2:.0f} MB",
    )
    return " | ".join(parts)


def _duration(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
