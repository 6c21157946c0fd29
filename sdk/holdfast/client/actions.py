"""The record of what operators do, kept in the history where there is one: `Action` says what is kept of each.

Every method of a client by which an operator changes something passes through `recorded` or `record`; a test calls
them all. What starts runs, sends them messages, publishes or completes deferred steps is work, and not recorded here.

An action never fails, and is hardly slower, for its record. Where no history is kept (no `holdfast[store]`, a server in
memory, a home without `history.db`, a history of another namespace) nothing is recorded. Where there is one that does
not answer within five seconds, the action is done and a warning says that its record is missing.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from holdfast.checks import check_text
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.store.audit_log import Action
    from holdfast.store.database import Database

logger = logging.getLogger("holdfast.actions")

_PATIENCE_SECONDS: Final = 5.0

_collected: ContextVar[list[Action] | None] = ContextVar("holdfast_actions", default=None)


def whoever(by: str | None) -> str:
    """Who acts: as given, else the user of this machine, `ada@host`."""
    if by:
        return by
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name, as in containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


async def record(
    client: Client,
    what: str,
    *,
    run_id: str | None = None,
    subject: str | None = None,
    why: str = "",
    by: str | None = None,
    result: str = "done",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Record an action that was done; see above for where that is not possible.

    Args:
        client: Whose history it is.
        what: The action, such as `cancel`.
        run_id: The run it was done to.
        subject: What it was done to where that is no run, such as `trigger nightly`.
        why: The reason that was given.
        by: Who did it. Default: the user of this machine.
        result: `done`, or `failed: ` and why.
        details: What else is to be known of it, as JSON values.
    """
    if not client.store.kept:
        return
    from holdfast.store.audit_log import Action

    action = Action(
        who=whoever(by), what=what, why=why, run_id=run_id, subject=subject, result=result, details=details
    )
    together = _collected.get()
    if together is not None:
        together.append(action)
        return
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await client.store.call(_write, client.namespace, action)
    except (HoldfastError, TimeoutError) as error:
        reason = str(error) or f"the database has not answered within {_PATIENCE_SECONDS:.0f} s"
        on = f" on run {run_id!r}" if run_id else f" on {subject}" if subject else ""
        logger.warning("%s%s: %s, but it may not be in the record of actions: %s", what, on, result, reason)


def _write(database: Database, namespace: str, action: Action) -> None:
    from holdfast.indexer.progress import indexed_namespace
    from holdfast.store.audit_log import write_actions

    if indexed_namespace(database) in (None, namespace):
        write_actions(database, [action])


@asynccontextmanager
async def recorded(
    client: Client,
    what: str,
    *,
    run_id: str | None = None,
    subject: str | None = None,
    why: str = "",
    by: str | None = None,
    **details: Any,
) -> AsyncGenerator[dict[str, Any]]:
    """Record what is done in the block, and how it ends. Yields the details: the block may add to them.

    Args:
        client: Whose history it is.
        what: The action.
        run_id: The run it is done to.
        subject: What it is done to where that is no run, such as `trigger nightly`.
        why: The reason that was given.
        by: Who does it.
        **details: What else is to be known of it, as JSON values.

    Raises:
        InvalidInput: Nobody can read who does it, or why.
    """
    check_text("reason", why)
    check_text("by", by)
    done = partial(record, client, what, run_id=run_id, subject=subject, why=why, by=by)
    try:
        yield details
    except HoldfastError as error:
        await done(result=f"failed: {error}", details=details or None)
        raise
    await done(details=details or None)


@contextmanager
def together() -> Generator[list[Action]]:
    """Collect what is recorded in the block, and in tasks that it starts, in place of writing it action by action."""
    found: list[Action] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)
