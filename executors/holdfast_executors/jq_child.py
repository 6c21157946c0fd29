"""Runs jq programs in processes of their own: one may loop for ever or fill the memory, and is killed then."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from holdfast import InvalidConfiguration, InvalidInput, PayloadTooLarge, Unavailable
from holdfast.spec.child_memory import MAX_MEMORY_BYTES, limit_memory
from holdfast_executors import jq_serve

MAX_RUNNING: Final = 4
"""So many programs of one worker run at once; more wait for their turn."""

_START_SECONDS: Final = 30
"""A process takes longer to be ready on a busy machine, which is no fault of its program."""

_MODULES: Final = re.compile(r"(?:\s|#[^\n]*(?:\n|$))*(import|include|module)\b")
_READS_MODULES: Final = re.compile(r"\b(modulemeta|get_search_list)\b")

_PROGRAM: Final = """
import sys, json, runpy
sys.path[:] = json.loads(sys.argv[1])
runpy.run_path(sys.argv[2])["serve"]()
"""
"""By its file: importing its package would import Holdfast, which takes longer than most programs."""


def refusal(program: str, variables: Mapping[str, object]) -> str | None:
    """Why a program may not run; None if it may."""
    # A module is a file of the worker's machine, and so is the data that one imports.
    if (found := _MODULES.match(program) or _READS_MODULES.search(program)) is not None:
        return f"{found[1]!r} reads files, which a program may not"
    for name in variables:
        if not name.isidentifier() or not name.isascii() or name.startswith("__") or name == "ENV":
            return f"{name!r} is no name for a variable"
    return None


async def open_turns() -> asyncio.Semaphore:
    """The turns of the programs of one worker."""
    return asyncio.Semaphore(MAX_RUNNING)


async def run_jq(
    program: str, data: JsonValue, variables: Mapping[str, JsonValue], timeout: timedelta
) -> list[JsonValue]:
    """All outputs of a program.

    Raises:
        InvalidInput: The program is wrong, raises an error, or does not end in time or within its memory.
        PayloadTooLarge: It gives more than 50 MiB.
        InvalidConfiguration: jq is not installed.
    """
    if importlib.util.find_spec("jq") is None:
        raise InvalidConfiguration("jq programs need the extra: pip install 'holdfast[jq]'")
    request = json.dumps({"program": program, "data": data, "variables": dict(variables)}).encode()
    shown = f"jq program {program[:200]!r}"
    try:
        answer = json.loads(await _ask(request, timeout.total_seconds(), shown))
    except RecursionError:  # the process had a little more room
        raise InvalidInput(f"{shown}: its output nests too deep for JSON") from None
    if "error" in answer:
        raise (PayloadTooLarge if answer["too_large"] else InvalidInput)(f"{shown}: {answer['error']}")
    outputs: list[JsonValue] = answer["outputs"]
    return outputs


async def _ask(request: bytes, seconds: float, shown: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", "-c", _PROGRAM, json.dumps([part for part in sys.path if part]), jq_serve.__file__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},  # `env` and `$ENV` of jq would show the worker's, secrets included
        start_new_session=True,  # Ctrl-C is for the worker, which first finishes what it has begun
    )
    limit_memory(process.pid)
    starting = asyncio.timeout(_START_SECONDS)
    try:
        assert process.stdout is not None
        async with starting:
            ready = await process.stdout.readline()
        async with asyncio.timeout(seconds):
            answer, _ = await process.communicate(request + b"\n")
    except TimeoutError:
        if starting.expired():
            raise Unavailable(f"no process for a jq program was ready after {_START_SECONDS} s") from None
        raise InvalidInput(f"{shown} was not ready after {seconds:g} s and was ended") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if not ready:
        raise Unavailable(f"the process for {shown} ended before it began")
    if not answer:
        limit = f"{MAX_MEMORY_BYTES // 1024**2} MiB"
        raise InvalidInput(f"{shown} ended its process: perhaps it needs more than {limit} of memory")
    return answer
