"""What workflow code uses in place of clocks and chance, and how it waits for people and messages."""

from __future__ import annotations

import random as _random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar, overload

from temporalio import workflow as _temporal

from holdfast.authoring import scope
from holdfast.errors import NotInWorkflow

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What an approval answers unless another form is asked for."""

    approved: bool
    """Whether it may go on."""

    by: str | None = None
    """Who decided."""

    comment: str | None = None
    """Why."""


def _run(what: str) -> scope.RunScope:
    run = scope.current_run()
    if run is None:
        raise NotInWorkflow(f"{what}() works inside a workflow")
    return run


async def wait_for(name: str, type: type[T], /, *, timeout: timedelta | None = None) -> T:
    """Wait for a message that somebody sends with `run.send(name, value)`.

    Messages are kept in order from before anybody waits; each is taken once.

    Args:
        name: The message's name.
        type: What it must be; a message that does not fit is refused to its sender.
        timeout: How long to wait. Default: without limit.

    Raises:
        WaitTimeout: Nobody sent one in time.
        NotInWorkflow: Called elsewhere.
    """
    return await _run("wait_for").wait_for(name, type, timeout)  # type: ignore[no-any-return]


@overload
async def approval(
    prompt: str, /, *, timeout: timedelta | None = None, name: str | None = None
) -> Decision: ...
@overload
async def approval(
    prompt: str, /, *, form: type[T], timeout: timedelta | None = None, name: str | None = None
) -> T: ...
async def approval(
    prompt: str, /, *, form: type[Any] = Decision, timeout: timedelta | None = None, name: str | None = None
) -> Any:
    """Wait for a person's decision; `client.approvals` lists the open ones and decides them.

    Args:
        prompt: The question.
        form: The type of the answer, from which a form is made. Default: `Decision`.
        timeout: How long to wait. Default: without limit.
        name: By which it is decided. Default: made from the prompt.

    Raises:
        WaitTimeout: Nobody decided in time.
        NotInWorkflow: Called elsewhere.
    """
    return await _run("approval").approval(prompt, form, timeout, name)


def set_state(value: Any, /) -> None:
    """Publish what `run.state()` reads and what the workflow's queries and updates receive. Up to 64 KiB of it go along
    when the run continues as new.

    Raises:
        NotInWorkflow: Called elsewhere.
    """
    _run("set_state").set_state(value)


async def emit(event: str, payload: Any = None, /) -> None:
    """Tell all who listen (`client.events`) that something has happened. A replay tells nothing again.

    It costs an event of the history, and no step. It is heard when an indexer has read that history.

    Args:
        event: Its kind, such as `invoice.sent`. Those that begin with `workflow.`, `step.`, `approval.` or `goal.` are
            Holdfast's own.
        payload: What is told: any value that travels as JSON, up to 16 KiB.

    Raises:
        InvalidInput: The name is taken or cannot be one, or the payload does not travel.
        PayloadTooLarge: The payload is larger.
        NotInWorkflow: Called elsewhere.
    """
    await _run("emit").emit(event, payload)


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this execution and start the run again with these arguments and an empty history.

    The run keeps its id; unread messages, open compensations and the time limit go along. For runs that go on for
    ever.

    Raises:
        InvalidInput: An argument is missing or does not fit.
        NotInWorkflow: Called elsewhere.
    """
    _run("continue_as_new").continue_as_new(args, kwargs)
    raise AssertionError("continue_as_new returns never")


def now() -> datetime:
    """The time, in UTC: in a workflow the same at every replay."""
    return _temporal.now() if _temporal.in_workflow() else datetime.now(UTC)


def uuid4() -> uuid.UUID:
    """A random UUID: in a workflow the same at every replay."""
    return _temporal.uuid4() if _temporal.in_workflow() else uuid.uuid4()


def random() -> _random.Random:
    """A source of chance: in a workflow it gives the same at every replay."""
    return _temporal.random() if _temporal.in_workflow() else _random.Random()


def patched(id: str, /) -> bool:
    """Whether this run takes the new way of a change: true for runs that reach the place for the first time, false
    for runs that passed it with the old code. Keep the old code until no such run is open; `holdfast replay-check` says
    whether one is. Then put `deprecate_patch` in its place.

    Args:
        id: The change's name, of its own in its workflow: `patched("fulfil-ship-first")`.

    Raises:
        NotInWorkflow: Called elsewhere.
    """
    _run("patched")
    return _temporal.patched(id)


def deprecate_patch(id: str, /) -> None:
    """Say that no open run takes the old way of a change any more: it stands where `patched` stood, beside the new way
    alone, until no open run has passed `patched` either. Then it goes, too.

    Args:
        id: The name given to `patched`.

    Raises:
        NotInWorkflow: Called elsewhere.
    """
    _run("deprecate_patch")
    _temporal.deprecate_patch(id)
