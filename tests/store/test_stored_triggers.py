"""Stored triggers, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest

from holdfast.client.events import EventFilter
from holdfast.errors import Conflict, InvalidInput, NotFound
from holdfast.store.database import Database
from holdfast.store.events import list_events, publish
from holdfast.store.triggers import (
    StoredTrigger,
    delete_trigger,
    find_trigger,
    list_triggers,
    put_trigger,
    set_paused,
)

CONDITION = {
    "kind": "event",
    "event": "x",
    "where": "payload == '\0\ud800 '' \" ; DROP TABLE triggers'",
    "input": None,
}


def put(database: Database, name: str, **changes: Any) -> StoredTrigger:
    facts: dict[str, Any] = {
        "condition": CONDITION,
        "target": {"called": "w"},
        "content_hash": "1",
        "owner": None,
        "replace": False,
    }
    return put_trigger(database, name, **(facts | changes))


def test_a_trigger_is_kept_as_it_was_given(database: Database) -> None:
    publish(database, "x", 1)
    made = put(database, "one", note="n" * 5000)
    assert find_trigger(database, "one") == made
    assert made.condition == CONDITION
    assert made.after == 1
    put(database, "hook", condition={"kind": "webhook"})
    assert [found.name for found in list_triggers(database)] == ["hook", "one"]
    assert [found.name for found in list_triggers(database, kind="event")] == ["one"]
    assert find_trigger(database, "One") is None


def test_a_replaced_one_goes_on_where_it_was(database: Database) -> None:
    before = put(database, "one")
    set_paused(database, "one", paused=True, note="why")
    publish(database, "x", 1)
    changed = put(database, "one", replace=True, content_hash="2", paused=False, note="other", owner="b")
    assert (changed.content_hash, changed.paused, changed.note, changed.owner) == ("2", True, "why", None)
    assert (changed.after, changed.since) == (before.after, before.since)
    set_paused(database, "one", paused=False, note=None)
    resumed = find_trigger(database, "one")
    assert resumed is not None
    assert (resumed.after, resumed.paused, resumed.note) == (1, False, None)
    assert resumed.since > before.since


class _Ahead(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(hours=3)


def test_the_time_of_a_client_whose_clock_is_ahead_does_not_count(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("triggers", "events"):
        monkeypatch.setattr(f"holdfast.store.{module}.datetime", _Ahead)
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert put(database, "one").since < soon
    set_paused(database, "one", paused=True, note=None)
    set_paused(database, "one", paused=False, note=None)
    resumed = find_trigger(database, "one")
    assert resumed is not None
    assert resumed.since < soon
    publish(database, "x", 1)
    [event] = list_events(database, EventFilter(channels=["x"]), before=None, limit=1)
    assert event.at < soon


def test_one_of_several_at_once_makes_it(database: Database) -> None:
    def attempt(number: int) -> bool:
        try:
            put(database, "one", content_hash=str(number))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_more_than_are_looked_at_are_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.store.triggers.MAX_TRIGGERS", 2)
    put(database, "a")
    put(database, "b")
    with pytest.raises(InvalidInput, match="delete one"):
        put(database, "c")
    assert put(database, "b", content_hash="2", replace=True).content_hash == "2"
    delete_trigger(database, "a")
    put(database, "c")


def test_what_is_not_there_is_told(database: Database) -> None:
    with pytest.raises(NotFound, match="'none'"):
        set_paused(database, "none", paused=True, note=None)
    with pytest.raises(NotFound, match="'none'"):
        delete_trigger(database, "none")
    put(database, "one")
    delete_trigger(database, "one")
    assert list_triggers(database) == []
