"""What the command line's exit codes mean."""

from __future__ import annotations

from enum import IntEnum

from holdfast.errors import GiveUp, HoldfastError, NotAllowed, NotFound, TryAgain


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    """The run did not complete, or a check found something wrong."""
    USAGE = 2
    """The command line, the input or the code is wrong, or a person has said no; nothing was done."""
    NOT_FOUND = 3
    """There is no such run, approval, workflow or file."""
    UNAVAILABLE = 4
    """The server cannot be reached, or an answer did not come in time: try again."""
    NOT_ALLOWED = 5
    BUG = 70
    """An error inside Holdfast."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """The reader of the output went away, as `head` does."""
    TERMINATED = 143
    """SIGTERM."""


def exit_code(error: HoldfastError) -> ExitCode:
    """The exit code for an error that ends a command."""
    if isinstance(error, NotFound):
        return ExitCode.NOT_FOUND
    if isinstance(error, TryAgain):
        return ExitCode.UNAVAILABLE
    if isinstance(error, NotAllowed):
        return ExitCode.NOT_ALLOWED
    return ExitCode.FAILED if isinstance(error, GiveUp) else ExitCode.USAGE
