"""Evaluates expressions in processes of their own, which can be killed: a large one would hold up everything else.

A process is used again and again, takes one request at a time, and ends with its parent.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, BinaryIO, Final

from holdfast import errors
from holdfast.spec.child_memory import limit_memory

MAX_IDLE: Final = 2
"""How many processes wait for the next request."""

MAX_RUNNING: Final = max(2, os.cpu_count() or 1)
"""How many evaluations run at once; more wait for their turn."""

HEADER_BYTES: Final = 8
BOOTSTRAP: Final = """
import sys, json
sys.path[:] = json.loads(sys.argv[1])
from holdfast.spec.cel_child import serve
serve()
"""
"""What a process runs; it finds its modules where the parent does."""


class ChildTimedOut(Exception):
    """The evaluation was not ready in time, and its process was ended."""


class ChildEnded(Exception):
    """The process ended before it answered."""


class _Child:
    """One process with its two pipes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOTSTRAP, json.dumps([part for part in sys.path if part])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the worker, which first finishes what it has begun
        )
        limit_memory(self.process.pid)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests: BinaryIO = self.process.stdin  # type: ignore[assignment]
        self.answers: BinaryIO = self.process.stdout  # type: ignore[assignment]
        if _receive(self.answers) is None:
            self.end()
            raise ChildEnded

    def ask(self, request: bytes, seconds: float) -> bytes:
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            self.process.kill()

        # A kill closes the pipe, which ends the read; the systems have no common way to read with a time limit.
        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            _send(self.requests, request)
            answer = _receive(self.answers)
        except OSError:
            answer = None
        finally:
            timer.cancel()
            timer.join()  # a kill that is under way must not hit the next request
        if answer is not None and not timed_out.is_set():
            return answer
        self.end()
        raise ChildTimedOut if timed_out.is_set() else ChildEnded

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(OSError):  # what was not sent yet has no reader any more
                pipe.close()


class _Pool:
    """The processes that wait, and a limit on those that work."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, with no process."""
        self.idle: list[_Child] = []
        self.lock = threading.Lock()
        self.turns = threading.BoundedSemaphore(MAX_RUNNING)

    def take(self) -> _Child:
        with self.lock:
            while self.idle:
                child = self.idle.pop()
                if child.process.poll() is None:
                    return child
                child.end()
        return _Child()

    def give(self, child: _Child) -> None:
        with self.lock:
            if len(self.idle) < MAX_IDLE:
                self.idle.append(child)
                return
        child.end()

    def close(self) -> None:
        with self.lock:
            idle, self.idle = self.idle, []
        for child in idle:
            child.end()


_pool = _Pool()
atexit.register(_pool.close)
if hasattr(os, "register_at_fork"):
    # A forked process must not talk into the pipes of its parent's children.
    os.register_at_fork(after_in_child=_pool.forget)


def run_in_child(text: str, values: Mapping[str, object], timeout: timedelta) -> Any:
    """Evaluate an expression in a child process.

    Raises:
        ChildTimedOut: It was not ready in time.
        ChildEnded: The process died.
        HoldfastError: What the evaluation raised.
    """
    seconds = timeout.total_seconds()
    request = json.dumps({"text": text, "values": values, "seconds": seconds}).encode("utf-8")
    with _pool.turns:
        child = _pool.take()
        answer = json.loads(child.ask(request, seconds))
        _pool.give(child)
    if "error" not in answer:
        return answer["result"]
    from holdfast.spec.expressions import TooCostly

    error = TooCostly if answer["too_costly"] else errors.InvalidInput
    raise error(answer["error"], **answer["details"])


def _send(pipe: BinaryIO, data: bytes) -> None:
    pipe.write(len(data).to_bytes(HEADER_BYTES, "big") + data)
    pipe.flush()


def _receive(pipe: BinaryIO) -> bytes | None:
    header = pipe.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    size = int.from_bytes(header, "big")
    data = pipe.read(size)
    return data if len(data) == size else None


def serve() -> None:
    """Answer requests from standard input until it ends: what the child process runs."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    _send(answers, b"ready")
    while (request := _receive(requests)) is not None:
        asked = json.loads(request)
        # The parent kills a late child; this one is for a parent that has died.
        alarm = threading.Timer(asked["seconds"] + 5, os._exit, [1])
        alarm.daemon = True
        alarm.start()
        answer = json.dumps(_answer(asked["text"], asked["values"])).encode("utf-8")
        alarm.cancel()
        _send(answers, answer)


def _answer(text: str, values: dict[str, Any]) -> dict[str, Any]:
    from holdfast.spec.expressions import MAX_ELEMENTS, TooCostly, compile

    try:
        return {"result": compile(text).evaluate(values, max_elements=MAX_ELEMENTS)}
    except errors.InvalidInput as error:
        return {
            "error": error.message,
            "too_costly": isinstance(error, TooCostly),
            "details": error.details,
        }
    except MemoryError:
        return {
            "error": f"expression {text[:200]!r}: it needs too much memory",
            "too_costly": True,
            "details": {},
        }
