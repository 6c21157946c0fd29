"""What is allowed with a reason."""

import os
import time

from holdfast import step, workflow


@step(local=True, idempotent=True)
async def double(number: int) -> int:
    return number * 2


def host() -> str:
    return os.environ["HOSTNAME"]  # holdfast: allow HF-A025 it goes into a message only


@workflow
async def careful(number: int) -> str:
    started = time.perf_counter()  # holdfast: allow HF-A020 measured, never decided on
    doubled = await double(number)
    print(time.perf_counter() - started)  # holdfast: allow HF-A020, HF-A029 printed, never decided on
    return f"{doubled} on {host()}"
