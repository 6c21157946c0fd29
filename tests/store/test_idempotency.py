"""Keys of requests: of several at once one does the work, the others get its answer or are told why not."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

from sqlalchemy import func, select

from holdfast.store.database import Database
from holdfast.store.idempotency import KEEP, complete, release, reserve
from holdfast.store.retention import prune
from holdfast.store.schema import idempotency_keys

STRANGE = "k'\x00\ud800🦉" + "x" * 5000


def test_who_asks_again_gets_the_first_answer(database: Database) -> None:
    for answer in ({"status": 201, "body": ["\x00🦉"]}, None):
        key = f"{STRANGE}{answer}"
        first = reserve(database, "key-1", key, "hash")
        assert first.outcome == "reserved"
        assert reserve(database, "key-1", key, "hash").outcome == "in progress"
        assert reserve(database, "key-1", key, "other").outcome == "other request"
        assert complete(database, first, answer)
        again = reserve(database, "key-1", key, "hash")
        assert (again.outcome, again.answer) == ("answered", answer)
        assert reserve(database, "key-1", key, "other").outcome == "other request"
        assert reserve(database, "key-2", key, "hash").outcome == "reserved"
        assert reserve(database, "key-1", f"{key}!", "hash").outcome == "reserved"


def test_of_many_at_once_one_does_the_work(database: Database) -> None:
    together = Barrier(8)

    def ask(number: int) -> str:
        together.wait()
        return reserve(database, "s", f"key-{number % 4}", "hash").outcome

    with ThreadPoolExecutor(8) as threads:
        outcomes = Counter(threads.map(ask, range(8)))
    assert outcomes == {"reserved": 4, "in progress": 4}


def test_a_key_that_is_released_or_was_held_too_long_is_another_ones(database: Database) -> None:
    first = reserve(database, "s", "k", "hash")
    release(database, first)
    second = reserve(database, "s", "k", "other", hold=timedelta())
    third = reserve(database, "s", "k", "hash")
    assert (second.outcome, third.outcome) == ("reserved", "reserved")
    # Neither the first nor the second, which come back late, change what is the third's.
    release(database, second)
    assert not complete(database, second, "late")
    assert not complete(database, first, "later")
    assert complete(database, third, "in time")
    release(database, third)
    assert reserve(database, "s", "k", "hash").answer == "in time"


def test_answers_are_forgotten_after_their_time(database: Database) -> None:
    complete(database, reserve(database, "s", "old", "hash"), "x", keep=timedelta())
    complete(database, reserve(database, "s", "new", "hash"), "y")
    assert reserve(database, "s", "old", "hash").outcome == "reserved"
    prune(database, now=datetime.now(UTC) + KEEP - timedelta(minutes=1))
    assert reserve(database, "s", "new", "hash").answer == "y"
    prune(database, now=datetime.now(UTC) + KEEP + timedelta(minutes=1))
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(idempotency_keys)).scalar_one() == 0
