"""What the tests of the core share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.worker import Replayer

from holdfast import Run
from holdfast.engine.parts import Parts


async def replay(run: Run[Any], *served: object) -> None:
    """Run today's code against the run's history; raises when they no longer fit together."""
    parts = Parts(served)
    replayer = Replayer(
        workflows=parts.classes,
        workflow_runner=parts.runner,
        data_converter=run._client.temporal.data_converter,
    )
    await replayer.replay_workflow(await run.history())


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for something that happens elsewhere."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.02)


async def eventually(question: Callable[[], Awaitable[Any]], seconds: float = 30) -> Any:
    """Ask until there is a true answer."""
    end = time.monotonic() + seconds
    while not (answer := await question()):
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)
    return answer
