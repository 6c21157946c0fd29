"""What has failed for good and is somebody's to settle: failed runs and compensations, undeliverable triggers.

One letter per run, compensation or trigger, by its identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from holdfast.errors import InvalidInput, NotFound
from holdfast.jsonable import Jsonable
from holdfast.store.columns import ID_BYTES, MAX_ID, MESSAGE_BYTES, bounded, cut
from holdfast.store.database import Database
from holdfast.store.fingerprint import fingerprint
from holdfast.store.rows import Row
from holdfast.store.schema import dead_letters

Kind: TypeAlias = Literal["run", "compensation", "trigger"]
Status: TypeAlias = Literal["pending", "retrying", "resolved", "abandoned"]

OPEN: Final[tuple[Status, ...]] = ("pending", "retrying")
"""The statuses of letters that are not settled."""


@dataclass(frozen=True, kw_only=True)
class DeadLetter(Jsonable):
    """Something that failed for good."""

    id: int
    kind: Kind
    status: Status
    run_id: str | None
    workflow: str
    identity: str
    fingerprint: str | None
    error_type: str | None
    error_message: str | None
    payload: dict[str, Any] | None
    """What is to be known of it. Of a run: `input` (what is kept of it), `queue`, `dag`, `step` (that failed),
    `open_compensations`, `run_failed` (when it failed itself, not what does it anew), `begun_with` (memo, priority and
    task timeout of its start; None if too long to keep). Of a compensation: `step`, `activity_id`, `compensates`,
    `input`. Of a trigger: `trigger`, `event`, `input`, `queue`; where its `where` has no value, `count` tells for how
    many events; `event` and `cursor` are of the last."""

    attempts: int
    """How often it was redriven, with those that were refused."""

    redriven_as: str | None
    """The run that does it anew, if that is another one."""

    failed: datetime
    """When it did so last."""

    created: datetime
    updated: datetime
    reason: str | None
    """Why it has this status."""


@dataclass(frozen=True, kw_only=True)
class LetterGroup(Jsonable):
    """Dead letters with the same error."""

    kind: Kind
    fingerprint: str | None
    error_type: str | None
    count: int
    first: datetime
    latest: DeadLetter
    """The newest of them: an example."""


@dataclass(frozen=True, kw_only=True)
class LetterFilter:
    """Which dead letters are meant: those that fit everything that is given."""

    status: Status | None = None
    kind: Kind | None = None
    fingerprint: str | None = None
    workflow: str | None = None
    run_id: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What a row must fulfil."""
        columns = dead_letters.c
        given = {
            columns.status: self.status,
            columns.kind: self.kind,
            columns.fingerprint: self.fingerprint,
            columns.workflow: None if self.workflow is None else bounded(self.workflow),
            columns.run_id: None if self.run_id is None else bounded(self.run_id, ID_BYTES),
        }
        return [column == value for column, value in given.items() if value is not None]


def add(
    database: Database,
    *,
    kind: Kind,
    identity: str,
    error_type: str,
    error_message: str,
    workflow: str = "",
    run_id: str | None = None,
    payload: dict[str, Any] | None = None,
    failed: datetime | None = None,
    place: int | None = None,
) -> int:
    """Add a dead letter; where one of that identity is, it is pending again if it failed later than before.

    Args:
        database: Where to.
        kind: What has failed.
        identity: Its name: that of a second telling is the same.
        error_type: The error's class.
        error_message: What it says.
        workflow: The workflow that was to be started, or that ran.
        run_id: The run, if there is one.
        payload: What is needed to do it anew: for triggers `input`, the list of arguments, and `queue`.
        failed: When. Default: now.
        place: Of a letter that stands for many failures, the cursor of this one: each is counted once, in the `count`
            of the payload.

    Returns:
        The letter's id.

    Raises:
        Unavailable: The database does not answer.
    """
    row = {
        "kind": kind,
        "run_id": None if run_id is None else bounded(run_id, ID_BYTES),
        "workflow": bounded(workflow),
        "identity": bounded(identity, ID_BYTES),
        "fingerprint": fingerprint(error_type, error_message),
        "error_type": bounded(error_type),
        "error_message": cut(error_message, MESSAGE_BYTES),
        "payload": payload,
        "failed": failed or datetime.now(UTC),
    }
    with database.write() as connection:
        known = known_letters(connection, dead_letters.c.identity == row["identity"])
        if place is not None:
            _count(connection, row, known, place)
        fail_letter(connection, row, known)
        query = select(dead_letters.c.id).where(dead_letters.c.identity == row["identity"])
        return int(connection.execute(query).scalar_one())


def fail_letter(connection: Connection, row: Row, known: Sequence[DeadLetter]) -> None:
    """A letter of a failure: made, or pending again, or nothing if it is known."""
    now = datetime.now(UTC)
    if not known:
        row = {**row, "status": "pending", "attempts": 0, "created": now, "updated": now}
        connection.execute(insert(dead_letters), [row])
    elif row["failed"] > known[0].failed:
        # What is doing it anew at this moment may still complete.
        anew = known[0].redriven_as if known[0].status == "retrying" else None
        set_letter(connection, known[0], status="pending", reason=None, redriven_as=anew, **row)


def _count(connection: Connection, row: Row, known: Sequence[DeadLetter], place: int) -> None:
    """Count a failure in the letter and in the row that may take its place."""
    before = known[0].payload or {} if known else {}
    is_new = place > before.get("cursor", 0)
    counted = {"count": before.get("count", 0) + is_new, "cursor": max(place, before.get("cursor", 0))}
    row["payload"] = {**(row["payload"] or {}), **counted}
    if known and is_new:
        set_letter(connection, known[0], payload={**before, **counted})


def set_letter(connection: Connection, letter: DeadLetter, **values: Any) -> None:
    """Change a letter."""
    values["updated"] = datetime.now(UTC)
    connection.execute(update(dead_letters).where(dead_letters.c.id == letter.id).values(**values))


def known_letters(connection: Connection, condition: ColumnElement[bool]) -> list[DeadLetter]:
    """Letters that fulfil a condition."""
    found = connection.execute(select(dead_letters).where(condition)).mappings()
    return [DeadLetter(**row) for row in found]


def list_letters(
    database: Database, chosen: LetterFilter, *, limit: int = 100, before: int | None = None
) -> list[DeadLetter]:
    """Dead letters, the newest first.

    Args:
        database: Where from.
        chosen: Which.
        limit: How many at most.
        before: Only those before this one: the `id` of the last of a page.

    Raises:
        Unavailable: The database does not answer.
    """
    query = select(dead_letters).where(*chosen.conditions()).order_by(dead_letters.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(dead_letters.c.id < min(before, MAX_ID))
    with database.read() as connection:
        return [DeadLetter(**row) for row in connection.execute(query).mappings()]


def count_letters(database: Database, chosen: LetterFilter) -> int:
    """How many dead letters there are.

    Raises:
        Unavailable: The database does not answer.
    """
    query = select(func.count()).select_from(dead_letters).where(*chosen.conditions())
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def group_letters(database: Database, chosen: LetterFilter, *, limit: int = 100) -> list[LetterGroup]:
    """Dead letters by their error, the most frequent first.

    Raises:
        Unavailable: The database does not answer.
    """
    columns = dead_letters.c
    by = (columns.kind, columns.fingerprint, columns.error_type)
    count, latest = func.count().label("n"), func.max(columns.id).label("latest")
    query = select(*by, count, func.min(columns.created).label("first"), latest).where(*chosen.conditions())
    query = query.group_by(*by).order_by(count.desc(), latest.desc()).limit(limit)
    with database.read() as connection:
        rows = connection.execute(query).all()
        examples = {
            one.id: one for one in known_letters(connection, columns.id.in_([row.latest for row in rows]))
        }
    return [
        LetterGroup(
            kind=row.kind,
            fingerprint=row.fingerprint,
            error_type=row.error_type,
            count=row.n,
            first=row.first,
            latest=examples[row.latest],
        )
        for row in rows
    ]


def get_letter(database: Database, letter_id: int) -> DeadLetter:
    """One dead letter.

    Raises:
        NotFound: There is none of that id.
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        return _one(connection, letter_id)


def claim_letter(
    database: Database, letter_id: int, *, redriven_as: str | None, expected: Status
) -> DeadLetter:
    """Take a letter to redrive it: it is `retrying` from then on. Of several who try, one gets it.

    Args:
        database: Where from.
        letter_id: The letter.
        redriven_as: The id of the run that does it anew; `None` if the run itself goes on.
        expected: The status that it was seen with.

    Raises:
        NotFound: There is none of that id.
        InvalidInput: Its status is another by now.
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        letter = _one(connection, letter_id)
        if letter.status != expected:
            raise InvalidInput(f"dead letter {letter_id} is {letter.status} by now: somebody else was faster")
        attempts = letter.attempts + 1
        set_letter(
            connection, letter, status="retrying", redriven_as=redriven_as, attempts=attempts, reason=None,
        )  # fmt: skip
        return _one(connection, letter_id)


def release_letter(database: Database, letter_id: int, reason: str, *, redriven_as: str | None) -> None:
    """Give back a letter that was claimed, since redriving failed; nothing if its status is another by now.

    Args:
        database: Where.
        letter_id: The letter.
        reason: Why.
        redriven_as: The run that does it anew, if there may be one.

    Raises:
        NotFound: There is none of that id.
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        letter = _one(connection, letter_id)
        if letter.status == "retrying":
            said = cut(reason, MESSAGE_BYTES)
            set_letter(connection, letter, status="pending", reason=said, redriven_as=redriven_as)


def decide_letter(database: Database, letter_id: int, status: Status, reason: str) -> DeadLetter:
    """Settle a letter that is open.

    Args:
        database: Where.
        letter_id: The letter.
        status: Its status from then on.
        reason: Why.

    Raises:
        NotFound: There is none of that id.
        InvalidInput: It is settled.
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        letter = _one(connection, letter_id)
        if letter.status not in OPEN:
            raise InvalidInput(f"dead letter {letter_id} is {letter.status}, and stays so")
        set_letter(connection, letter, status=status, reason=cut(reason, MESSAGE_BYTES))
        return _one(connection, letter_id)


def _one(connection: Connection, letter_id: int) -> DeadLetter:
    found = known_letters(connection, dead_letters.c.id == letter_id) if 0 < letter_id <= MAX_ID else []
    if not found:
        raise NotFound(f"there is no dead letter {letter_id}")
    return found[0]
