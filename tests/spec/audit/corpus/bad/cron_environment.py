"""A nightly job that looks where it runs."""

import os
import platform
from os import environ, getenv

from holdfast import step, workflow


@step
async def clean_up(folder: str) -> int:
    return len(os.listdir(folder or os.environ["HOME"]))


@workflow
async def nightly() -> int:
    if os.environ.get("SKIP"):  # expect: HF-A025
        return 0
    folder = getenv("FOLDER", "/tmp")  # expect: HF-A025
    region = environ["REGION"]  # expect: HF-A025
    host = platform.node()  # expect: HF-A025
    return await clean_up(f"{folder}/{region}/{host}/{os.getpid()}")  # expect: HF-A025
