"""What the process of a jq program does. It imports as little as it can, since every program starts one."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

READY: Final = b"ready\n"

MAX_BYTES: Final = 50 * 1024**2
"""The most that a program gives, as JSON: what may go from step to step."""


def serve() -> None:
    """Say that it is ready, read one request from standard input, and write one answer."""
    jq = importlib.import_module("jq")  # a compiled module without types
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    asked = json.loads(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(json.dumps(_answer(jq, asked)).encode())


def _answer(jq: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    outputs: list[Any] = []
    size_bytes = 0
    try:
        program = jq.compile(asked["program"], args=asked["variables"])
        for output in program.input_text(json.dumps(asked["data"])):
            size_bytes += len(json.dumps(output))
            if size_bytes > MAX_BYTES:
                return {"error": f"it gives more than {MAX_BYTES // 1024**2} MiB", "too_large": True}
            outputs.append(output)
    except RecursionError:
        return {"error": "its output nests too deep for JSON", "too_large": False}
    except (ValueError, MemoryError) as error:
        return {"error": str(error)[:1000] or "it needs too much memory", "too_large": False}
    return {"outputs": outputs}
