"""Conversion by other programs, started from the workflow."""

import asyncio
import os
import shutil
import subprocess
from tempfile import TemporaryDirectory

from holdfast import workflow


@workflow
async def convert(film: str) -> int:
    if shutil.which("ffmpeg") is None:  # expect: HF-A022
        return 1
    with TemporaryDirectory() as folder:  # expect: HF-A022
        done = subprocess.run(["ffmpeg", film, folder])  # expect: HF-A022
        os.system(f"ls {folder}")  # expect: HF-A022
    process = await asyncio.create_subprocess_exec("true")  # expect: HF-A022
    return done.returncode + (await process.wait())
