"""The command `holdfast`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import NoReturn

_INTERRUPTED = 130  # as ExitCode.INTERRUPTED, whose module may not have been imported yet


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    try:
        code = _run()
    except KeyboardInterrupt:  # before a command was there to answer it, as while modules are imported
        code = _INTERRUPTED
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    # Temporal's native threads may still hand results to Python while the interpreter is taken down, and abort the
    # process. Everything of ours is closed by now, so nothing is lost by leaving without that.
    os._exit(code)


def _run() -> int:
    try:
        from holdfast_server.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(f"The command line needs {error.name}: pip install 'holdfast[cli]'")
    _keep_stdout_for_results()
    return run(sys.argv[1:])


def _keep_stdout_for_results() -> None:
    """Give `sys.stdout` a channel of its own. What native code and child processes write to stdout, such as log lines
    of Temporal's core, goes to stderr, so that results stay what programs can read."""
    if sys.stdout is None or sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed by the caller
        return
    try:
        channel = os.dup(sys.stdout.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    except OSError:
        return
    sys.stdout = os.fdopen(channel, "w", encoding=sys.stdout.encoding, errors="backslashreplace")
