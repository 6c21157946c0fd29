"""Steps that compute, in processes of their own. Values cross as JSON, never as pickled objects."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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
    """Runs sync steps in worker processes, started at first use.

    Args:
        max_processes: Default: one per core.
    """

    def __init__(self, max_processes: int | None = None) -> None:
        self._max_processes = max_processes or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    async def call(self, step: Step[..., Any], values: Sequence[Any]) -> Any:
        """Call a step in a process and return its result.

        Raises:
            BrokenProcessPool: The process died; the pool is started again at the next call.
        """
        module = step.fn.__module__
        if "<locals>" in step.fn.__qualname__:
            raise InvalidStep(
                f"step {step.name!r} with process=True must stand at module level, to be found there"
            )
        if self._pool is None:
            # A forked child would inherit the worker's threads and connections in an unknown state.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._max_processes, mp_context=context, initializer=_end_with_parent
            )
        pool = self._pool
        sent = [
            _packed(value, adapter) for adapter, value in zip(step.signature.adapters, values, strict=True)
        ]
        loop = asyncio.get_running_loop()
        try:
            result = await loop.run_in_executor(pool, _call, module, step.name, sent)
        except BrokenProcessPool:
            # Every step of the pool gets this; one of the others may have started the next pool already.
            if self._pool is pool:
                self._pool = None
            raise
        if isinstance(result, _Raised):
            raise result.rebuilt()
        return _unpacked(result, step.signature.result)

    def close(self) -> None:
        """End the processes, whatever they compute: their steps were cancelled or have ended."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        # Python 3.14 has a method for this; without it the interpreter would wait for the computation at its end.
        processes: dict[int, BaseProcess] | None = getattr(pool, "_processes", None)
        running = list((processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.kill()


def _end_with_parent() -> None:
    """In a process of the pool: end when the worker is killed, which would otherwise leave it behind for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

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
