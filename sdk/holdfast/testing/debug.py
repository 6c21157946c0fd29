"""A debugger inside a recorded run: real values, no effects."""

from __future__ import annotations

import pdb
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from temporalio.client import WorkflowHistory
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from holdfast.engine.parts import Parts
from holdfast.testing.replay import Replayed, check_served, run_replayer, workflow_of

if TYPE_CHECKING:
    from holdfast.client.client import Client


async def debug_run(
    client: Client,
    run_id: str,
    served: Sequence[object],
    *,
    stdin: IO[str] | None = None,
    stdout: IO[str] | None = None,
) -> Replayed:
    """Play a recorded run back under pdb, which reads the terminal while the loop waits.

    The workflow's code gets the arguments, results, messages and times that the run got; no step is executed and the
    run itself notices nothing. It stops where the workflow says `breakpoint()`, else at the workflow's first line. `q`
    lets it go on to the end.

    Args:
        client: A connected client.
        run_id: The run, open or closed.
        served: The code, as a `Worker` takes it: workflows, modules or module names.
        stdin: What pdb reads. Default: the terminal.
        stdout: Where pdb writes. Default: the terminal.

    Returns:
        Whether the code does what the run did.

    Raises:
        NotFound: There is no such run, or `served` does not hold its workflow.
    """
    history = await client.get(run_id).history()
    parts = Parts(served)
    check_served(history, parts)
    fn = parts.workflows[workflow_of(history)].fn
    debugger = _Debugger(stdin=stdin, stdout=stdout, nosigint=True)
    replayer = Replayer(
        workflows=parts.classes,
        # The guard against clocks and chance would stand in pdb's own way.
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=client.temporal.data_converter,
        interceptors=[_AtStart(debugger, fn)],
        debug_mode=True,
    )
    try:
        with _restoring_hooks():
            [(_, replayed)] = [one async for one in run_replayer(replayer, _one(history))]
            return replayed
    finally:
        await parts.close()


async def _one(history: WorkflowHistory) -> AsyncGenerator[WorkflowHistory]:
    yield history


class _Debugger(pdb.Pdb):
    def do_quit(self, arg: str) -> bool | None:
        """Go on to the end. An exception, as pdb raises it, would run the workflow's error handling."""
        self.clear_all_breaks()
        sys.breakpointhook = _ignore
        return self.do_continue(arg)

    do_q = do_exit = do_EOF = do_quit

    def stop_at_first_line(self, fn: Callable[..., Any], frame: FrameType) -> None:
        """Trace from here on, and stop once when the function begins."""
        self.set_break(fn.__code__.co_filename, _first_line(fn), temporary=True)
        self.reset()
        self.botframe = frame
        self.set_continue()
        sys.settrace(self.trace_dispatch)

    def hook(self, *_args: object, **_kwargs: object) -> None:
        """Serve `breakpoint()` in workflow code."""
        self.set_trace(sys._getframe(1))


def _ignore(*_args: object, **_kwargs: object) -> None:
    return None


def _first_line(fn: Callable[..., Any]) -> int:
    code = fn.__code__
    lines = [line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno]
    return lines[0] if lines else code.co_firstlineno


class _AtStart(Interceptor):
    def __init__(self, debugger: _Debugger, fn: Callable[..., Any]) -> None:
        self._debugger, self._fn = debugger, fn

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        debugger, fn = self._debugger, self._fn

        class Inbound(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                sys.breakpointhook = debugger.hook
                if "breakpoint" not in fn.__code__.co_names:
                    debugger.stop_at_first_line(fn, sys._getframe())
                return await super().execute_workflow(input)

        return Inbound


@contextmanager
def _restoring_hooks() -> Generator[None]:
    hook, trace = sys.breakpointhook, sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(trace)
        sys.breakpointhook = hook
