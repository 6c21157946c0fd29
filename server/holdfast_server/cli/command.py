"""How a function becomes a command: shared options, one event loop, errors as one line and an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import signal
import traceback
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from holdfast.errors import HoldfastError
from holdfast.settings import load
from holdfast_server.cli.exits import ExitCode, exit_code
from holdfast_server.cli.logs import set_up_logging
from holdfast_server.cli.output import note, only_results
from holdfast_server.cli.target import Target

_ENDED_BY_USER = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)

Body = Callable[..., Coroutine[Any, Any, int | None]]

_HERE = "The server to use"
_SHARED = {
    "home": Annotated[
        str | None,
        typer.Option(
            help="Home of the embedded server. Default: HOLDFAST_HOME, else .holdfast here or in a parent folder.",
            rich_help_panel=_HERE,
            show_default=False,
        ),
    ],
    "address": Annotated[
        str | None,
        typer.Option(help="host:port of a Temporal cluster, in place of a home.", rich_help_panel=_HERE),
    ],
    "namespace": Annotated[str | None, typer.Option(help="Namespace of the cluster.", rich_help_panel=_HERE)],
    "profile": Annotated[
        str | None, typer.Option(help="Profile of Temporal's configuration file.", rich_help_panel=_HERE)
    ],
    "json": Annotated[bool, typer.Option("--json", help="Print JSON, and only JSON, on stdout.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show tracebacks and all log messages.")],
}


def command(
    app: typer.Typer, name: str, *, serves: bool = False, imports: bool = False, **options: Any
) -> Callable[[Body], Body]:
    """Register an async function as a command. Its parameter `target: Target` becomes the shared options; what it
    returns is the exit code (`None` is 0). A parameter with the name of a shared option takes its place.

    Args:
        app: The group that it belongs to.
        name: What users type.
        serves: Whether it serves until it is told to end: its log is worth reading, and such an end is a good one.
        imports: Whether it imports the user's code, whose prints are no results.
    """

    def register(body: Body) -> Body:
        signature = inspect.signature(body, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "target"]
        shared = [
            inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=annotation,
                default=False if key in ("json", "debug") else None,
            )
            for key, annotation in _SHARED.items()
            if key not in signature.parameters
        ]

        @functools.wraps(body)
        def invoke(**given: Any) -> None:
            target = Target(**{p.name: given.pop(p.name) for p in shared})
            try:
                settings = load()
                level = "DEBUG" if target.debug else settings.log_level if serves else "WARNING"
                set_up_logging(level, settings.log_format)
            except HoldfastError as error:
                note(f"error: {error}", style="red")
                raise typer.Exit(exit_code(error)) from None
            with only_results() if imports else nullcontext():
                code = _run(body(**given, target=target), debug=target.debug)
            raise typer.Exit(ExitCode.OK if serves and code in _ENDED_BY_USER else code)

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + shared
        invoke.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
        invoke.__annotations__ = {p.name: p.annotation for p in parameters}
        del invoke.__wrapped__  # typer would read the annotations of the body
        app.command(name)(invoke)
        return body

    return register


def _run(work: Coroutine[Any, Any, int | None], *, debug: bool) -> int:
    try:
        return asyncio.run(_until_terminated(work)) or ExitCode.OK
    except HoldfastError as error:
        if debug:
            note(traceback.format_exc())
        note(f"error: {error}", style="red")
        return exit_code(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the edge of the process: nobody else would report it
        if debug:
            note(traceback.format_exc())
        hint = "" if debug else " (--debug shows where)"
        note(f"internal error: {type(error).__name__}: {error}{hint}", style="red")
        return ExitCode.BUG


async def _until_terminated(work: Coroutine[Any, Any, int | None]) -> int | None:
    """Let SIGTERM end a command as Ctrl-C does: workers drain, the server gets its place back."""
    task, terminated = asyncio.ensure_future(work), False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers on loops
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if terminated:
            return ExitCode.TERMINATED
        raise
