"""Bulk operations: each is an entry of the audit log that keeps how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from holdfast.errors import InvalidInput, NotFound
from holdfast.store.audit_log import Action, action_row, add_actions
from holdfast.store.columns import MAX_ID
from holdfast.store.database import Database
from holdfast.store.schema import audit_log

_PREFIX: Final = "bulk "


@dataclass(kw_only=True)
class Bulk:
    """A bulk operation, and how far it has come."""

    id: int = 0
    action: str
    filter: dict[str, Any]
    reason: str
    by: str
    matched: int
    max_runs: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list[str])
    after: str | None = None
    """Where the runs that are not looked at yet begin."""

    doing: list[list[str]] = field(default_factory=list[list[str]])
    """Runs that it may be done to already, each with the execution that was seen."""

    finished: bool = False
    turn: int = 0
    """Grows with each who takes it up, so that only the last one goes on."""


def begin_bulk(database: Database, bulk: Bulk) -> Bulk:
    """Note a bulk operation before anything is done.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        made = connection.execute(insert(audit_log).values(**_row(bulk)))
        bulk.id = int(made.inserted_primary_key[0])  # type: ignore[index]
    return bulk


def take_bulk(database: Database, bulk_id: int) -> Bulk:
    """Go on with a bulk operation; whoever was at it stops.

    Raises:
        NotFound: There is none of that id.
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        bulk = _load(connection, bulk_id)
        bulk.turn += 1
        _save(connection, bulk)
        return bulk


def save_bulk(database: Database, bulk: Bulk, actions: Sequence[Action] = ()) -> None:
    """Keep how far it has come, and what was done to runs since the last time, all or nothing.

    Raises:
        InvalidInput: Somebody else has taken it up meanwhile.
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        if _load(connection, bulk.id).turn != bulk.turn:
            raise InvalidInput(f"bulk operation {bulk.id} was taken up by somebody else meanwhile")
        add_actions(connection, actions)
        _save(connection, bulk)


def _load(connection: Connection, bulk_id: int) -> Bulk:
    query = select(audit_log).where(audit_log.c.id == bulk_id, audit_log.c.what.startswith(_PREFIX))
    row = connection.execute(query).mappings().first() if 0 < bulk_id <= MAX_ID else None
    if row is None:
        raise NotFound(f"there is no bulk operation {bulk_id}")
    given: dict[str, Any] = row["details"]
    return Bulk(
        id=row["id"],
        action=row["what"].removeprefix(_PREFIX),
        filter=row["filter"],
        reason=row["why"],
        by=row["who"],
        **given,
    )


def _save(connection: Connection, bulk: Bulk) -> None:
    row = _row(bulk)
    values = {name: row[name] for name in ("count", "result", "details")}
    connection.execute(update(audit_log).where(audit_log.c.id == bulk.id).values(**values))


def _row(bulk: Bulk) -> dict[str, Any]:
    kept = (
        "matched",
        "max_runs",
        "done",
        "failed",
        "skipped",
        "problems",
        "after",
        "doing",
        "finished",
        "turn",
    )
    facts = asdict(bulk)
    told = f"{bulk.done} done, {bulk.failed} failed, {bulk.skipped} skipped"
    action = Action(
        at=datetime.now(UTC),
        who=bulk.by,
        what=f"{_PREFIX}{bulk.action}",
        why=bulk.reason,
        filter=bulk.filter,
        count=bulk.done,
        result=told if bulk.finished else f"not finished: {told} of {bulk.matched}",
        details={name: facts[name] for name in kept},
    )
    return action_row(action)
