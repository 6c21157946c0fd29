"""Stored workflows: documents under a name, in versions that are never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, insert, select, update

from holdfast.errors import Conflict, NotFound
from holdfast.store.columns import MESSAGE_BYTES, NAME_BYTES, cut
from holdfast.store.database import Database
from holdfast.store.schema import definition_versions, definitions
from holdfast.store.upsert import upsert

_SHOWN_BYTES: Final = 120


@dataclass(frozen=True, kw_only=True)
class WorkflowVersion:
    """One version of a stored workflow, without its document."""

    name: str
    version: int
    """From 1, without gaps."""

    content_hash: str
    """Of the document: the same for documents that mean the same."""

    created: datetime
    created_by: str | None = None
    note: str | None = None
    latest: int
    """The number of the latest version."""

    deleted: datetime | None = None
    """When the workflow was deleted, if it is."""

    is_new: bool = False
    """Whether the call that returned it made this version."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "version": self.version,
            "latest": self.latest,
            "content_hash": self.content_hash,
            "created": self.created.isoformat(),
            "created_by": self.created_by,
            "note": self.note,
            "deleted": self.deleted.isoformat() if self.deleted else None,
        }


@dataclass(frozen=True, kw_only=True)
class Found:
    """A version with its document, as JSON values."""

    version: WorkflowVersion
    document: Mapping[str, Any]


def put_definition(
    database: Database,
    name: str,
    content_hash: str,
    document: Mapping[str, Any],
    *,
    if_version: int | None = None,
    must_exist: bool = False,
    by: str | None = None,
    note: str | None = None,
) -> WorkflowVersion:
    """Store a document as the latest version, unless it is that already.

    Args:
        database: Where.
        name: The name, of at most 200 characters.
        content_hash: Of the document.
        document: As JSON values.
        if_version: Only if this is the latest version; 0: only if there is none.
        must_exist: Only if there is one.
        by: Who.
        note: Why.

    Raises:
        Conflict: The latest version is another.
        NotFound: There is none, and it must exist.
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        now = datetime.now(UTC)
        head = _head(connection, name)
        current = head["version"] if head is not None and head["deleted"] is None else 0
        if must_exist and current == 0:
            raise _not_found(name, deleted=head is not None)
        if if_version is not None and if_version != current:
            raise _conflict(name, if_version, current)
        latest = head["version"] if head is not None else 0
        if latest:
            found = connection.execute(_versions(name).where(definition_versions.c.version == latest))
            row = found.mappings().one()
            if row["spec_hash"] == content_hash:
                if current == 0:
                    _set_deleted(connection, name, None, now)
                return _version({**row, "deleted": None})
        made = {
            "name": name,
            "version": latest + 1,
            "spec_hash": content_hash,
            "created": now,
            "created_by": None if by is None else cut(by, NAME_BYTES),
            "note": None if note is None else cut(note, MESSAGE_BYTES),
        }
        connection.execute(insert(definition_versions), {**made, "document": dict(document)})
        created = head["created"] if head is not None else now
        row_of_head = {
            "name": name,
            "version": latest + 1,
            "created": created,
            "updated": now,
            "deleted": None,
        }
        upsert(connection, definitions, [row_of_head])
        return _version({**made, "latest": latest + 1, "deleted": None}, is_new=True)


def find_definition(database: Database, name: str, version: int | None = None) -> Found:
    """One version with its document. Those of a deleted workflow are found by their number.

    Args:
        database: Where.
        name: The workflow.
        version: Default: the latest.

    Raises:
        NotFound: There is none.
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        head = _head(connection, name)
        if head is None or (version is None and head["deleted"] is not None):
            raise _not_found(name, deleted=head is not None)
        wanted = head["version"] if version is None else version
        if not 1 <= wanted <= head["version"]:
            raise NotFound(f"workflow {name!r} has no version {wanted}: there are 1 to {head['version']}")
        query = _versions(name, definition_versions.c.document).where(definition_versions.c.version == wanted)
        row = connection.execute(query).mappings().one()
    return Found(version=_version(row), document=row["document"])


def list_definitions(
    database: Database, *, limit: int = 100, after: str | None = None, deleted: bool = False
) -> list[WorkflowVersion]:
    """The latest version of each workflow, by name.

    Args:
        database: Where.
        limit: At most so many.
        after: Only names after this one, for the next page.
        deleted: Those that are deleted, in place of the others.

    Raises:
        Unavailable: The database does not answer.
    """
    gone = definitions.c.deleted
    query = _joined().where(
        definition_versions.c.version == definitions.c.version,
        gone.is_not(None) if deleted else gone.is_(None),
    )
    if after is not None:
        query = query.where(definitions.c.name > after)
    with database.read() as connection:
        rows = connection.execute(query.order_by(definitions.c.name).limit(max(limit, 0))).mappings()
        return [_version(row) for row in rows]


def list_versions(database: Database, name: str, *, limit: int = 100) -> Sequence[WorkflowVersion]:
    """The versions of a workflow, also of a deleted one; the latest first.

    Raises:
        NotFound: There is no such workflow.
        Unavailable: The database does not answer.
    """
    query = _versions(name).order_by(definition_versions.c.version.desc()).limit(max(limit, 1))
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    if not rows:
        raise _not_found(name)
    return [_version(row) for row in rows]


def delete_definition(database: Database, name: str, *, if_version: int | None = None) -> None:
    """Hide a workflow; its versions stay, and so do its runs.

    Raises:
        NotFound: There is none.
        Conflict: The latest version is not `if_version`.
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        head = _head(connection, name)
        if head is None or head["deleted"] is not None:
            raise _not_found(name, deleted=head is not None)
        if if_version is not None and if_version != head["version"]:
            raise _conflict(name, if_version, head["version"])
        now = datetime.now(UTC)
        _set_deleted(connection, name, now, now)


def restore_definition(database: Database, name: str) -> WorkflowVersion:
    """Bring back a deleted workflow; one that is not deleted stays as it is.

    Raises:
        NotFound: There is none.
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        head = _head(connection, name)
        if head is None:
            raise _not_found(name)
        if head["deleted"] is not None:
            _set_deleted(connection, name, None, datetime.now(UTC))
        latest = definition_versions.c.version == head["version"]
        return _version(connection.execute(_versions(name).where(latest)).mappings().one())


def _joined(*more: Any) -> Select[*tuple[Any, ...]]:
    columns = [column for column in definition_versions.c if column.name != "document"]
    same: ColumnElement[bool] = definitions.c.name == definition_versions.c.name
    query = select(*columns, definitions.c.version.label("latest"), definitions.c.deleted, *more)
    return query.select_from(definition_versions.join(definitions, same))


def _versions(name: str, *more: Any) -> Select[*tuple[Any, ...]]:
    return _joined(*more).where(definition_versions.c.name == name)


def _head(connection: Connection, name: str) -> RowMapping | None:
    return connection.execute(select(definitions).where(definitions.c.name == name)).mappings().first()


def _set_deleted(connection: Connection, name: str, deleted: datetime | None, now: datetime) -> None:
    changed = update(definitions).where(definitions.c.name == name)
    connection.execute(changed.values(deleted=deleted, updated=now))


def _version(row: Mapping[Any, Any], *, is_new: bool = False) -> WorkflowVersion:
    return WorkflowVersion(
        name=row["name"],
        version=row["version"],
        content_hash=row["spec_hash"],
        created=row["created"],
        created_by=row["created_by"],
        note=row["note"],
        latest=row["latest"],
        deleted=row["deleted"],
        is_new=is_new,
    )


def _not_found(name: str, *, deleted: bool = False) -> NotFound:
    shown = cut(name, _SHOWN_BYTES)
    if deleted:
        return NotFound(f"workflow {shown!r} is deleted; `restore` brings it back")
    return NotFound(f"no workflow {shown!r} is stored")


def _conflict(name: str, wanted: int, current: int) -> Conflict:
    if wanted == 0:
        return Conflict(f"workflow {name!r} is stored already, at version {current}: update it")
    state = f"at version {current}" if current else "not stored"
    return Conflict(
        f"workflow {name!r} is {state}, not at version {wanted}: somebody else changed it. Look at what it is now, "
        "then try again"
    )
