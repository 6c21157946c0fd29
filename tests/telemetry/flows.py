"""What the worker processes of the tests here serve."""

from __future__ import annotations

import logging
import os
import time
from datetime import timedelta
from pathlib import Path

from holdfast import Permanent, RetryPolicy, continue_as_new, step, step_info, workflow
from holdfast_executors.http import HttpConfig
from holdfast_executors.http_request import Http

log = logging.getLogger("shop")


@step
async def prepare(order: str) -> str:
    log.info("preparing %s", order)
    return order


@step(retry=RetryPolicy(max_attempts=5, first_delay=timedelta(milliseconds=50)))
def hang_once(order: str, mark: str) -> str:
    """Says that it runs, and never ends in the first process that runs it."""
    log.info("attempt %d", step_info().attempt)
    file = Path(mark)
    if not file.exists():
        file.write_text(str(os.getpid()))
        time.sleep(600)
    return order


@step
async def refuse(order: str) -> None:
    raise Permanent(f"no {order}")


@step(local=True)
async def tiny(number: int) -> int:
    return number


@workflow
async def sells(order: str, url: str, mark: str) -> str:
    """A step, a step that hangs, and a call of a service."""
    await prepare(order)
    done = await hang_once(order, mark)
    await Http.call(HttpConfig(url=url))
    return done


@workflow
async def refuses(order: str) -> None:
    await refuse(order)


@workflow
async def counts(count: int) -> int:
    """Local steps, one after the other."""
    for number in range(count):
        await tiny(number)
    return count


@workflow
async def turns(order: str, left: str) -> str:
    """A run that continues as new, each time with a step."""
    await prepare(order)
    if left != "0":
        continue_as_new(order, str(int(left) - 1))
    return order


@workflow
async def outer(order: str) -> str:
    """A child run."""
    return await inner(order)


@workflow
async def inner(order: str) -> str:
    return await prepare(order)
