"""What operators did: who did what to which runs, when, why, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from holdfast.jsonable import Jsonable
from holdfast.store.columns import ID_BYTES, MAX_ID, MESSAGE_BYTES, bounded, cut
from holdfast.store.database import Database
from holdfast.store.schema import audit_log


@dataclass(frozen=True, kw_only=True)
class Action(Jsonable):
    """One action of an operator."""

    id: int = 0
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    who: str
    what: str
    """`cancel`, `terminate`, `pause`, `resume`, `decide`, `retry`, `fork`, `bulk cancel`, `redrive`, `discard`,
    `create trigger`, `push workflow`, `prune`, ..."""

    why: str = ""
    run_id: str | None = None
    subject: str | None = None
    """What it was done to where that is no run: `trigger nightly`, `workflow fulfil`, `database`, ..."""

    filter: Mapping[str, Any] | None = None
    """Of a bulk operation: which runs."""

    count: int = 0
    """Of a bulk operation: how many runs it was done to."""

    result: str = "done"
    """`done`, or `failed: ` and why; of a bulk operation also `skipped: ` and why it did not apply any more."""

    details: Mapping[str, Any] | None = None


def write_actions(database: Database, actions: Sequence[Action]) -> None:
    """Add actions.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        add_actions(connection, actions)


def add_actions(connection: Connection, actions: Sequence[Action]) -> None:
    """Add actions in a transaction that is open."""
    if actions:
        connection.execute(insert(audit_log), [action_row(action) for action in actions])


def list_actions(
    database: Database,
    *,
    run_id: str | None = None,
    subject: str | None = None,
    who: str | None = None,
    what: str | None = None,
    limit: int = 100,
    before: int | None = None,
) -> list[Action]:
    """Actions, the latest first.

    Args:
        database: Where from.
        run_id: Only those on this run.
        subject: Only those on this: `trigger nightly`.
        who: Only those of this person.
        what: Only those of this kind.
        limit: How many at most.
        before: Only those before this one: the `id` of the last of a page.

    Raises:
        Unavailable: The database does not answer.
    """
    query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit)
    if run_id is not None:
        query = query.where(audit_log.c.run_id == bounded(run_id, ID_BYTES))
    if subject is not None:
        query = query.where(audit_log.c.subject == bounded(subject))
    if who is not None:
        query = query.where(audit_log.c.who == bounded(who))
    if what is not None:
        query = query.where(audit_log.c.what == what)
    if before is not None:
        query = query.where(audit_log.c.id < min(before, MAX_ID))
    with database.read() as connection:
        return [Action(**row) for row in connection.execute(query).mappings()]


def action_row(action: Action) -> dict[str, Any]:
    """The row of an action, without its id."""
    return {
        "at": action.at,
        "who": bounded(action.who),
        "what": bounded(action.what),
        "why": cut(action.why, MESSAGE_BYTES),
        "run_id": None if action.run_id is None else bounded(action.run_id, ID_BYTES),
        "subject": None if action.subject is None else bounded(action.subject),
        "filter": None if action.filter is None else dict(action.filter),
        "count": action.count,
        "result": cut(action.result, MESSAGE_BYTES),
        "details": None if action.details is None else dict(action.details),
    }
