"""The table of events: pages, filters, what is deleted, what is not stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from holdfast import EventsLost
from holdfast.client.events import Event, EventFilter
from holdfast.store import events as store
from holdfast.store.audit_log import Action, list_actions, write_actions
from holdfast.store.database import Database
from holdfast.store.rows import Event as Told
from holdfast.store.writer import write_events

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def tell(database: Database, *kinds: str, at: datetime = NOW, **facts: Any) -> None:
    given = {"run_id": "r-1", "payload": {"workflow": "shop"}} | facts
    write_events(database, [Told(kind=kind, at=at, **given) for kind in kinds])


def read_all(database: Database, wanted: EventFilter | None = None, after: int = 0) -> list[Event]:
    found: list[Event] = []
    while True:
        page = store.read_page(database, wanted or EventFilter(), after, limit=7)
        assert page.position >= after
        found += page.events
        if not page.more:
            return found
        after = page.position


def test_any_number_and_any_pattern_are_answered(database: Database) -> None:
    tell(database, "step.1")
    [told] = store.list_events(database, EventFilter(kinds=["step*"]), before=2**70, limit=9)
    assert told.kind == "step.1"
    for odd in ("\0*", "\ud800*", "😀\0"):
        assert store.list_events(database, EventFilter(kinds=[odd]), before=None, limit=9) == []
    with pytest.raises(EventsLost, match="of another database"):
        store.read_page(database, EventFilter(), 2**70)
    write_actions(database, [Action(who="Ada", what="cancel")])
    assert [action.who for action in list_actions(database, before=2**70)] == ["Ada"]


def test_pages_follow_each_other_and_end(database: Database) -> None:
    tell(database, *(f"step.{number}" for number in range(40)))
    told = read_all(database)
    assert [event.kind for event in told] == [f"step.{number}" for number in range(40)]
    middle = told[19].cursor
    assert middle is not None
    assert read_all(database, after=middle) == told[20:]
    newest = store.newest_cursor(database)
    assert newest == told[-1].cursor
    page = store.read_page(database, EventFilter(), newest)
    assert (page.events, page.position, page.more) == ((), newest, False)


def test_filters_leave_nothing_out_and_go_on_behind_what_does_not_fit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_WINDOW", 5)
    for number in range(12):
        tell(database, "workflow.started", run_id=f"r-{number}", payload={"workflow": "a*'%_"})
        tell(database, "step.completed", "Workflow.odd", "workflow_x", run_id=f"r-{number}")
    store.publish(database, "billing", {"paid": True})
    kinds = lambda wanted: [event.kind for event in read_all(database, wanted)]  # noqa: E731
    assert kinds(EventFilter(kinds=["workflow.*"])) == ["workflow.started"] * 12
    assert kinds(EventFilter(kinds=["step.completed", "published"])) == ["step.completed"] * 12 + [
        "published"
    ]
    assert kinds(EventFilter(runs=["r-3"], kinds=["workflow*"])) == ["workflow.started", "workflow_x"]
    assert len(kinds(EventFilter(workflows=["a*'%_"]))) == 12
    assert kinds(EventFilter(channels=["billing"])) == ["published"]
    assert kinds(EventFilter(channels=["billing' OR 1=1"])) == []
    latest = store.list_events(database, EventFilter(workflows=["a*'%_"]), before=None, limit=5)
    assert [event.run_id for event in latest] == ["r-11", "r-10", "r-9", "r-8", "r-7"]


def test_deleted_events_are_told_as_lost_not_passed_over(database: Database) -> None:
    old, young = NOW - timedelta(days=30), NOW
    tell(database, "step.a", "step.b", at=old)
    tell(database, "step.c", at=young)
    tell(database, "step.late", at=old)  # it happened long ago, and was told now
    known = read_all(database)
    assert store.prune_events(database, NOW - timedelta(days=14)) == 2
    with pytest.raises(EventsLost) as lost:
        store.read_page(database, EventFilter(), known[0].cursor or 0)
    assert read_all(database, after=lost.value.resume_after) == known[2:]
    assert read_all(database, after=0) == known[2:]
    assert read_all(database, after=known[1].cursor or 0) == known[2:]
    assert store.prune_events(database, NOW + timedelta(days=1)) == 2
    assert store.newest_cursor(database) == known[-1].cursor
    assert read_all(database, after=known[-1].cursor or 0) == []


def test_what_was_deleted_is_not_told_again(database: Database) -> None:
    def look() -> None:
        tell(database, "step.old", at=NOW - timedelta(days=30), identity="old")
        tell(database, "step.new", identity="new")

    look()
    store.publish(database, "billing", {"paid": True})
    store.prune_events(database, NOW - timedelta(days=14))
    store.prune_events(database, NOW - timedelta(days=60))  # less than before brings nothing back
    look()
    assert [event.kind for event in read_all(database)] == ["step.new", "published"]


def test_a_cursor_of_another_database_is_refused(database: Database) -> None:
    tell(database, "step.a")
    with pytest.raises(EventsLost, match="another database"):
        store.read_page(database, EventFilter(), 1000)


def test_messages_that_are_not_kept_are_in_no_list(
    database: Database, open_database: Callable[[], Database]
) -> None:
    store.pass_on(database, "chat", {"text": "\x00 hi"})
    assert store.list_events(open_database(), EventFilter(), before=None, limit=10) == []
    for event in read_all(database):  # SQLite alone has a row of it
        assert database.is_sqlite
        assert (event.cursor, event.payload) == (None, {"text": "\x00 hi"})


def test_a_subscription_is_remembered(database: Database, open_database: Callable[[], Database]) -> None:
    assert store.subscribed(database, "billing") is None
    store.subscribe(database, "billing", 7)
    assert store.subscribed(open_database(), "billing") == 7
    assert store.subscribed(database, "other") is None


def test_the_events_of_a_workflow_are_found_among_many_others(database: Database) -> None:
    for workflow, count in (("rare", 1), ("shop", 300), ("'; DROP", 1), ("rare", 1)):
        for number in range(count):
            tell(database, f"step.{number}", payload={"workflow": workflow}, run_id=workflow)
    long = "w" * 1000
    tell(database, "step.long", payload={"workflow": long})
    rare = store.list_events(database, EventFilter(workflows=["rare"]), before=None, limit=100)
    assert [event.workflow for event in rare] == ["rare", "rare"]
    assert [event.cursor for event in read_all(database, EventFilter(workflows=["rare"]))] == [
        event.cursor for event in reversed(rare)
    ]
    both = EventFilter(workflows=["rare", "'; DROP", long, long])
    found = store.list_events(database, both, before=None, limit=3)
    assert [event.workflow for event in found] == [long, "rare", "'; DROP"]
    rest = store.list_events(database, both, before=found[-1].cursor, limit=3)
    assert [event.workflow for event in rest] == ["rare"]
    assert len(read_all(database, both)) == 4
    if database.is_sqlite:
        query = (
            "EXPLAIN QUERY PLAN SELECT * FROM events WHERE workflow = 'rare' ORDER BY cursor DESC LIMIT 100"
        )
        with database.read() as connection:
            assert "events_workflow" in str(connection.execute(text(query)).all())
