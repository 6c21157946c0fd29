"""Requests that name a key are done once: whoever asks again under the key gets the first one's answer.

A key is reserved before the work, and completed with the answer after it. A reservation holds for a while only, so that
a process that dies in between does not keep its key for ever; then the next one that asks does the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, delete, select, update

from holdfast.store.columns import ID_BYTES, bounded
from holdfast.store.database import Database, shared_now
from holdfast.store.schema import idempotency_keys as keys
from holdfast.store.upsert import upsert

HOLD: Final = timedelta(minutes=10)
"""How long a key is reserved; longer than any request takes."""

KEEP: Final = timedelta(hours=24)
"""How long an answer is kept."""

Outcome: TypeAlias = Literal["reserved", "answered", "in progress", "other request"]


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What became of an attempt to reserve a key."""

    outcome: Outcome
    """`reserved`: do the work, then `complete` or `release`. `answered`: `answer` is what came of it. `in progress`:
    another one is at it, up to `until`. `other request`: the key was used for another request."""

    scope: str
    key: str
    since: datetime
    """When the key was reserved; tells this reservation from a later one."""

    until: datetime
    """When the key is free again."""

    answer: Any = None


def reserve(
    database: Database, scope: str, key: str, request_hash: str, *, hold: timedelta = HOLD
) -> Reservation:
    """Reserve a key; of several at once, one gets it.

    Args:
        database: Where.
        scope: Whose key it is, and for what: the same key in another scope is another key.
        key: What the client calls its request.
        request_hash: A hash of all that the request asks for.
        hold: For how long, if it is not completed.

    Raises:
        Unavailable: The database does not answer.
    """
    row = {"scope": bounded(scope), "key": bounded(key, ID_BYTES)}
    place = (keys.c.scope == row["scope"]) & (keys.c.key == row["key"])
    with database.write() as connection:
        now = shared_now(connection)
        known = connection.execute(select(keys).where(place)).mappings().first()
        if known is None or known["expires"] <= now:
            fresh = {"request_hash": request_hash, "response": None, "created": now, "expires": now + hold}
            upsert(connection, keys, [row | fresh])
            return Reservation(outcome="reserved", scope=scope, key=key, since=now, until=now + hold)
    outcome: Outcome = "answered"
    if known["request_hash"] != request_hash:
        outcome = "other request"
    elif known["response"] is None:
        outcome = "in progress"
    return Reservation(
        outcome=outcome,
        scope=scope,
        key=key,
        since=known["created"],
        until=known["expires"],
        answer=known["response"]["answer"] if outcome == "answered" else None,
    )


def complete(database: Database, reservation: Reservation, answer: Any, *, keep: timedelta = KEEP) -> bool:
    """Keep the answer for those who ask again.

    Args:
        database: Where.
        reservation: What `reserve` returned, with the outcome `reserved`.
        answer: Any JSON value.
        keep: For how long.

    Returns:
        Whether it is kept: not if the reservation had run out, and the key is another one's by now.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        values = {"response": {"answer": answer}, "expires": shared_now(connection) + keep}
        return connection.execute(update(keys).where(_own(reservation)).values(values)).rowcount == 1


def release(database: Database, reservation: Reservation) -> None:
    """Give a key back, as nothing was done: the next one that asks does the work.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        connection.execute(delete(keys).where(_own(reservation)))


def _own(reservation: Reservation) -> ColumnElement[bool]:
    place = (keys.c.scope == bounded(reservation.scope)) & (keys.c.key == bounded(reservation.key, ID_BYTES))
    return place & (keys.c.created == reservation.since) & keys.c.response.is_(None)
