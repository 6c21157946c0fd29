"""Steps that compute, in processes of their own. Values cross as JSON, never as pickled objects."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from holdfast.authoring.registry import registry
from holdfast.authoring.step import Step
from holdfast.engine.data.refs import RefContext, genuine_refs
from holdfast.engine.data.values import from_payload, to_payload
from holdfast.errors import InvalidStep

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class ProcessPool:
    """Runs sync steps in worker processes, started at first use. Each has one step at a time and an executor of its
    own: where several share one, a process that dies takes the steps of all others along.

    Args:
        max_processes: Default: one per core.
    """

    def __init__(self, max_processes: int | None = None) -> None:
        self._places = asyncio.Semaphore(max_processes or os.cpu_count() or 1)
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: set[ProcessPoolExecutor] = set()

    async def call(self, step: Step[..., Any], values: Sequence[Any]) -> Any:
        """Call a step in a process and return its result. A cancel ends the process: what it computes cannot be told.

        Raises:
            BrokenProcessPool: The process died; another one is started at the next call.
        """
        module = step.fn.__module__
        if "<locals>" in step.fn.__qualname__:
            raise InvalidStep(
                f"step {step.name!r} with process=True must stand at module level, to be found there"
            )
        sent = [
            _packed(value, adapter) for adapter, value in zip(step.signature.adapters, values, strict=True)
        ]
        async with self._places:
            process, future = self._submit(module, step.name, sent)
            self._busy.add(process)
            try:
                result = await asyncio.wrap_future(future)
            except (BrokenProcessPool, asyncio.CancelledError):
                _end(process)
                raise
            except BaseException:  # raised by the step
                self._idle.append(process)
                raise
            else:
                self._idle.append(process)
            finally:
                self._busy.discard(process)
        if isinstance(result, _Raised):
            raise result.rebuilt()
        return _unpacked(result, step.signature.result)

    def _submit(
        self, module: str, name: str, sent: Sequence[bytes]
    ) -> tuple[ProcessPoolExecutor, Future[bytes | _Raised]]:
        while self._idle:
            process = self._idle.pop()
            try:
                return process, process.submit(_call, module, name, sent)
            except BrokenProcessPool:  # it died while it had nothing to do
                _end(process)
        # A forked child would inherit the worker's threads and connections in an unknown state.
        context = multiprocessing.get_context("spawn")
        process = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
        return process, process.submit(_call, module, name, sent)

    def close(self) -> None:
        """End the processes, whatever they compute: their steps were cancelled or have ended."""
        for process in [*self._idle, *self._busy]:
            _end(process)
        self._idle.clear()


def _end(process: ProcessPoolExecutor) -> None:
    # Python 3.14 has a method for this; without it the interpreter would wait for the computation at its end.
    running: dict[int, BaseProcess] | None = getattr(process, "_processes", None)
    killed = list((running or {}).values())
    process.shutdown(wait=False, cancel_futures=True)
    for child in killed:
        child.kill()


def _end_with_parent() -> None:
    """In a process of the pool: end when the worker is killed, which would otherwise leave it behind for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        # A thread would never run beside a step that loops in C.
        with contextlib.suppress(ImportError):  # a Python built without libffi
            import ctypes

            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="holdfast-parent", daemon=True).start()


@dataclass(frozen=True)
class _Raised:
    """An exception that cannot cross to another process by itself."""

    name: str
    message: str

    def rebuilt(self) -> Exception:
        error: Exception = type(self.name, (Exception,), {})(self.message)
        return error


def _call(module: str, name: str, sent: Sequence[bytes]) -> bytes | _Raised:
    try:
        return _run(module, name, sent)
    except Exception as exc:  # the boundary to user code
        # One that cannot be read back would look like the death of the process.
        try:
            pickle.loads(pickle.dumps(exc))
        except Exception:  # noqa: BLE001 - whatever its own methods raise
            return _Raised(type(exc).__name__, str(exc))
        raise


def _run(module: str, name: str, sent: Sequence[bytes]) -> bytes:
    if module not in sys.modules and module != "__main__":
        importlib.import_module(module)
    step = registry().step(name)
    if step is None:
        raise InvalidStep(f"importing {module!r} in a new process did not declare step {name!r}")
    signature = step.signature
    values = [_unpacked(data, adapter) for adapter, data in zip(signature.adapters, sent, strict=True)]
    return _packed(signature.call(values, {}), signature.result)


def _converter() -> PayloadConverter:
    from holdfast.engine.data.converter import HoldfastPayloadConverter  # brings pydantic's slow half along

    return HoldfastPayloadConverter()


def _packed(value: object, adapter: TypeAdapter[Any]) -> bytes:
    return to_payload(value, adapter, _converter()).SerializeToString()


def _unpacked(data: bytes, adapter: TypeAdapter[Any]) -> Any:
    payload = Payload.FromString(data)
    return from_payload(payload, adapter, _converter(), refs=RefContext(genuine_refs(payload)))
