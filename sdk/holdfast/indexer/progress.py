"""What an indexer keeps in the database about itself: how far it has come, and what it could not read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    func,
    or_,
    select,
    type_coerce,
    update,
)
from temporalio.api.common.v1 import WorkflowExecution

from holdfast.errors import InvalidConfiguration
from holdfast.indexer.leases import shard_of
from holdfast.store.columns import ID_BYTES, bounded, instant, microseconds
from holdfast.store.database import Database
from holdfast.store.listeners import anybody_listens
from holdfast.store.maintenance import RESETS
from holdfast.store.schema import cursors, executions, runs, unreadable
from holdfast.store.upsert import upsert
from holdfast.store.writer import PRUNED

BEGINNING: Final = instant(0)
_CURSOR: Final = "indexer/"
_NAMESPACE: Final = f"{_CURSOR}namespace"
GONE: Final = "Temporal deleted it before its end was read; how it ended is not known."
EARLIER_GONE: Final = "Temporal had deleted earlier executions of it before they were read."
_SHORTEST_US: Final = 2_000_000
_LONGEST_US: Final = 60_000_000
_REASON_CHARS: Final = 2000

# Made once: to make a statement takes longer than to carry it out, and each round needs these.
_VALUES: Final = select(cursors.c.name, cursors.c.value).where(
    cursors.c.name.in_(bindparam("names", expanding=True))
)
_KNOWN: Final = select(executions.c.execution_id, executions.c.closed).where(
    executions.c.execution_id.in_(bindparam("ids", expanding=True))
)
_ASIDE: Final = select(unreadable.c.execution_id).where(
    unreadable.c.execution_id.in_(bindparam("ids", expanding=True))
)
_UNREADABLE: Final = select(unreadable).order_by(unreadable.c.last_seen).execution_options(yield_per=100)


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """How far the lists were read."""

    closed: datetime = BEGINNING
    """Of those that closed up to then, all that were listed are stored."""

    opened: datetime = BEGINNING
    """Of those that are open, all that started up to then."""

    resets: int = 0
    """How often the database was emptied. What an indexer has read before says nothing of what is stored after."""

    heard: bool = False
    """Whether anybody listens to events."""


def load_cursor(database: Database, shards: Collection[int], namespace: str, anew: bool = False) -> Cursor:
    """How far all of some shards have come. Nothing is looked for before the time up to which runs were deleted.

    Args:
        database: The store.
        shards: Which.
        namespace: Whose runs are read.
        anew: As if nothing had been read yet.

    Raises:
        InvalidConfiguration: The database keeps the runs of another namespace.
        Unavailable: The database does not answer.
    """
    names = [f"{_CURSOR}{shard}" for shard in shards]
    with database.read() as connection:
        wanted = [_NAMESPACE, PRUNED, RESETS, *names]
        values = {row.name: row.value for row in connection.execute(_VALUES, {"names": wanted})}
        heard = anybody_listens(connection)
    _check(database, values.get(_NAMESPACE), namespace)
    pruned, resets = values.get(PRUNED) or 0, int(values.get(RESETS) or 0)
    found = [values[name] for name in names if name in values]
    if anew or len(found) < len(names):
        return Cursor(closed=instant(pruned), resets=resets, heard=heard)
    return Cursor(
        resets=resets,
        heard=heard,
        closed=instant(max(min((value["closed"] for value in found), default=0), pruned)),
        opened=instant(min((value["opened"] for value in found), default=0)),
    )


def indexed_namespace(database: Database) -> str | None:
    """The namespace whose runs the database keeps; `None` if no indexer has come to an end.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        return connection.execute(select(cursors.c.value).where(cursors.c.name == _NAMESPACE)).scalar()


def check_namespace(database: Database, namespace: str) -> bool:
    """Refuse a database of another namespace.

    Returns:
        Whether an indexer has come to an end in this one.

    Raises:
        InvalidConfiguration: The database keeps the runs of another namespace.
        Unavailable: The database does not answer.
    """
    found = indexed_namespace(database)
    _check(database, found, namespace)
    return found is not None


def _check(database: Database, found: str | None, namespace: str) -> None:
    if found not in (None, namespace):
        raise InvalidConfiguration(
            f"The database {database.name} keeps the runs of namespace {found!r}, and this is {namespace!r}: "
            "each needs a database of its own."
        )


def save_cursor(database: Database, shards: Collection[int], namespace: str, cursor: Cursor) -> None:
    """Say how far some shards of a namespace have come, and that they were looked at now."""
    value = {"closed": microseconds(cursor.closed), "opened": microseconds(cursor.opened)}
    values = {_NAMESPACE: namespace, **{f"{_CURSOR}{shard}": value for shard in sorted(shards)}}
    now = datetime.now(UTC)
    rows = [{"name": name, "value": value, "updated": now} for name, value in values.items()]
    with database.write(lazy=True) as connection:
        if _resets(connection) == cursor.resets:
            upsert(connection, cursors, rows)


def _resets(connection: Connection) -> int:
    found = connection.execute(select(cursors.c.value).where(cursors.c.name == RESETS)).scalar()
    return int(found or 0)


def lag_of(database: Database) -> timedelta | None:
    """How far what is stored is behind: the longer of the time since all that Temporal listed was stored, and of
    `overdue`. `None` if no indexer has ever come to an end.

    Raises:
        Unavailable: The database does not answer.
    """
    listed = listed_ago(database)
    return None if listed is None else max(listed, overdue(database))


def listed_ago(database: Database) -> timedelta | None:
    """How long ago all that Temporal listed was stored; `None` if no indexer has ever come to an end.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        oldest = connection.execute(
            select(func.min(cursors.c.updated)).where(cursors.c.name.startswith(_CURSOR))
        ).scalar()
    return None if oldest is None else max(datetime.now(UTC) - oldest, timedelta())


def overdue(database: Database) -> timedelta:
    """How long ago the open execution that waits longest was to be looked at again; zero if none waits.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        longest = connection.execute(_LONGEST_DUE).scalar()
    return timedelta() if longest is None else max(datetime.now(UTC) - instant(int(longest)), timedelta())


def known(database: Database, execution_ids: Collection[str]) -> Mapping[str, bool]:
    """Which of these executions need not be read when they are listed, and whether they are stored as closed. What
    could not be read counts as closed: it has its own turn."""
    found: dict[str, bool] = {}
    with database.read() as connection:
        ids = {"ids": list(execution_ids)}
        for row in connection.execute(_KNOWN, ids):
            found[row.execution_id] = row.closed is not None
        for name in connection.execute(_ASIDE, ids).scalars():
            found[name] = True
    return found


@dataclass(frozen=True, kw_only=True)
class Known:
    """An open execution as it is stored."""

    run_id: str
    execution_id: str
    state: str
    last_event_id: int


def _due_at() -> ColumnElement[int]:
    """When an execution is to be looked at again, in microseconds."""
    observed, started = (
        type_coerce(column, BigInteger) for column in (executions.c.observed, executions.c.started)
    )
    age = (observed - started) / 10
    return observed + case((age < _SHORTEST_US, _SHORTEST_US), (age > _LONGEST_US, _LONGEST_US), else_=age)


_LOOKED_AT: Final = (executions.c.closed.is_(None), or_(executions.c.gap.is_(None), executions.c.gap != GONE))
_LONGEST_DUE: Final = select(func.min(_due_at())).where(*_LOOKED_AT)


def _due() -> Select[str, str, str, int]:
    return (
        select(runs.c.id, executions.c.execution_id, executions.c.state, executions.c.last_event_id)
        .join(runs, runs.c.key == executions.c.run_key)
        .where(*_LOOKED_AT, _due_at() < bindparam("now", type_=BigInteger))
        .order_by(executions.c.observed)
        .execution_options(yield_per=100)
    )


_DUE: Final = _due()


def due(database: Database, shards: Collection[int], limit: int) -> list[Known]:
    """Open executions to look at again, the longest waiting first.

    The longer one is open, the less often it is looked at: every tenth of its age, between two seconds and a minute.
    """
    now = microseconds(datetime.now(UTC))
    found: list[Known] = []
    with database.read() as connection, connection.execute(_DUE, {"now": now}) as waiting:
        for row in waiting:
            if shard_of(row.id) in shards:
                found.append(
                    Known(
                        run_id=row.id,
                        execution_id=row.execution_id,
                        state=row.state,
                        last_event_id=row.last_event_id,
                    )
                )
            if len(found) == limit:
                break
    return found


def mark_seen(database: Database, execution_ids: Collection[str], moment: datetime) -> None:
    """Executions were looked at, and nothing had changed."""
    if execution_ids:
        with database.write(lazy=True) as connection:
            connection.execute(
                update(executions).where(executions.c.execution_id.in_(execution_ids)).values(observed=moment)
            )


def mark_gone(database: Database, execution_ids: Collection[str]) -> None:
    """Temporal does not know open executions any more: say so in place of showing them as open for ever."""
    if execution_ids:
        with database.write() as connection:
            for table in (executions, runs):
                connection.execute(
                    update(table).where(table.c.execution_id.in_(execution_ids)).values(gap=GONE)
                )


def mark_beginning_gone(database: Database, run_ids: Mapping[str, str]) -> None:
    """Temporal does not know the first executions of some runs: say so at the earliest that are stored.

    Args:
        database: The store.
        run_ids: The run's id by that of the first execution.
    """
    if not run_ids:
        return
    with database.write() as connection:
        for first, run_id in run_ids.items():
            key = connection.execute(
                select(runs.c.key).where(
                    runs.c.id == bounded(run_id, ID_BYTES), runs.c.first_execution_id == first
                )
            ).scalar()
            earliest = connection.execute(
                select(func.min(executions.c.key)).where(
                    executions.c.run_key == key, executions.c.first_execution_id == first
                )
            ).scalar()
            for table, found in ((runs, key), (executions, earliest)):
                connection.execute(
                    update(table).where(table.c.key == found, table.c.gap.is_(None)).values(gap=EARLIER_GONE)
                )


def keep_aside(database: Database, failed: Iterable[tuple[WorkflowExecution, str]]) -> None:
    """Note executions that could not be read, with the reason."""
    now = datetime.now(UTC)
    reasons = {execution.run_id: (execution.workflow_id, reason) for execution, reason in failed}
    if not reasons:
        return
    with database.write() as connection:
        old = {
            row.execution_id: row
            for row in connection.execute(select(unreadable).where(unreadable.c.execution_id.in_(reasons)))
        }
        upsert(
            connection,
            unreadable,
            [
                {
                    "execution_id": execution_id,
                    "run_id": run_id,
                    "reason": reason[:_REASON_CHARS],
                    "attempts": old[execution_id].attempts + 1 if execution_id in old else 1,
                    "first_seen": old[execution_id].first_seen if execution_id in old else now,
                    "last_seen": now,
                }
                for execution_id, (run_id, reason) in reasons.items()
            ],
        )


def try_again(database: Database, shards: Collection[int], limit: int) -> list[WorkflowExecution]:
    """Those of the unreadable that are due: after 2, 4, 8 seconds and so on, at last once an hour."""
    now = datetime.now(UTC)
    found: list[WorkflowExecution] = []
    with database.read() as connection, connection.execute(_UNREADABLE) as aside:
        for row in aside:
            wait = timedelta(seconds=min(2.0 ** min(row.attempts, 20), 3600))
            if row.last_seen + wait < now and shard_of(row.run_id) in shards:
                found.append(WorkflowExecution(workflow_id=row.run_id, run_id=row.execution_id))
            if len(found) == limit:
                break
    return found
