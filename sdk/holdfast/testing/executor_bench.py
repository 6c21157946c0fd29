"""Runs single attempts of an executor as a worker does, without a server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast

from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import ActivityEnvironment

from holdfast.authoring.depends import Providers
from holdfast.authoring.executor import Executor
from holdfast.authoring.executor_context import ExecutorContext
from holdfast.engine.activities import StepHost
from holdfast.engine.data.converter import make_data_converter
from holdfast.engine.data.step_data import StepData
from holdfast.engine.executors import ExecutorCall
from holdfast.engine.process_pool import ProcessPool
from holdfast.options import Limit
from holdfast.secrets import secret_sources

_NULL = Payload(metadata={"encoding": b"json/plain"}, data=b"null")


@dataclass(kw_only=True)
class Ended:
    """How an attempt ended, and what it wrote."""

    output: Payload = field(default_factory=Payload)
    error: ApplicationError | None = None
    cancelled: bool = False
    keys: list[str] = field(default_factory=list[str])
    """The idempotency keys that it saw."""
    written: dict[str, str] = field(default_factory=dict[str, str])
    """By the place where it was written."""


class Bench:
    """One worker's share of an executor.

    Args:
        executor: The class.
        secrets: By name.
        overrides: Values of providers.
    """

    def __init__(
        self,
        executor: type[Executor[Any, Any]],
        secrets: Mapping[str, str],
        overrides: Mapping[Callable[[], Any], Any],
    ) -> None:
        self._converter = make_data_converter()
        self._providers = Providers({secret_sources: secret_sources(secrets), **overrides})
        self._data = StepData(self._converter)
        self._processes = ProcessPool(1)
        host = StepHost(self._data, providers=self._providers, instances={}, processes=self._processes)
        self._keys: list[str] = []
        self._slips: list[str] = []
        self._call = ExecutorCall(host, _watched(executor, self._keys, self._slips))
        self._environment = ActivityEnvironment()
        self._kind = executor

    @property
    def executor(self) -> Executor[Any, Any]:
        """The instance that all attempts share."""
        return self._call.executor

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._providers.close()
        self._processes.close()

    def cancel(self) -> None:
        """Ask the running attempt to stop, as a run does that is cancelled."""
        self._environment.cancel()

    async def attempt(self, config: Mapping[str, Any], input: Any, *, number: int = 1) -> Ended:
        """Run one attempt.

        Args:
            config: As in a document.
            input: What it works on.
            number: Of the attempt.
        """
        self._keys.clear()
        ended = Ended()
        beats: list[Any] = []
        self._environment.info = dataclasses.replace(
            self._environment.info, activity_id="node", workflow_id="contract", attempt=number
        )
        self._environment.on_heartbeat = lambda *details: beats.append(details)
        call = {"config": dict(config), "values": {}, "own": None, "input": input, "patch": {}}
        asked = Payload(metadata={"encoding": b"json/plain"}, data=to_json(call))
        stdout, logged = io.StringIO(), _Logged()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stdout), logged.listening():
            try:
                given = await self._environment.run(self._call.run, RawValue(asked), RawValue(_NULL))
                ended.output = given.payload
            except ApplicationError as error:
                ended.error = error
                failure = Failure()
                # What cannot be written here would never reach the run.
                self._converter.failure_converter.to_failure(
                    error, self._converter.payload_converter, failure
                )
                ended.written["the error"] = str(failure)
            except (asyncio.CancelledError, CancelledError):
                ended.cancelled = True
        ended.keys = list(self._keys)
        ended.written |= {
            "the output": ended.output.data.decode("utf-8", "replace"),
            "the logs": "\n".join(logged.lines),
            "standard output": stdout.getvalue(),
            "the progress": repr(beats),
        }
        return ended

    def check_methods(self) -> None:
        """Raise `AssertionError` if `validate` or `limit` gave what it should not in the attempts so far."""
        assert not self._slips, self._slips[0]

    async def read_and_write(self, output: Payload) -> bytes:
        """The output after somebody has read it as its declared type and written it again."""
        adapter = self._kind.step.signature.result
        value = await self._data.decode(output, adapter, where="The output")
        return (await self._data.encode_result(value, adapter, step=self._kind.type)).data


def _watched(
    executor: type[Executor[Any, Any]], keys: list[str], slips: list[str]
) -> type[Executor[Any, Any]]:
    """The same executor, which notes the idempotency keys that it sees, and what its methods give that they should
    not."""

    async def execute(self: Any, ctx: ExecutorContext, config: Any, input: Any) -> Any:
        keys.append(ctx.idempotency_key)
        return await executor.execute(self, ctx, config, input)

    def validate(self: Any, config: Any) -> Sequence[str]:
        found = cast("object", executor.validate(self, config))
        if isinstance(found, Sequence) and not isinstance(found, str):
            sentences = cast("Sequence[object]", found)
            if all(isinstance(one, str) and one for one in sentences):
                return cast("Sequence[str]", sentences)
        slips.append(f"validate gave {found!r:.200}: it gives a list of sentences, empty for a good config")
        return ["validate gave no list of sentences"] if found else []

    def limit(self: Any, config: Any) -> Limit | None:
        found = cast("object", executor.limit(self, config))
        if found is None or isinstance(found, Limit):
            return found
        slips.append(f"limit gave {found!r:.200}: it gives a Limit(...) or None")
        return None

    members = {"execute": execute, "validate": validate, "limit": limit, "__module__": executor.__module__}
    return type(executor.__name__, (executor,), members)


class _Logged(logging.Handler):
    """Keeps what is logged, as a log file would."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            root.setLevel(level)
            root.removeHandler(self)
