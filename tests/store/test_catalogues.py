"""What workers have published: kept once, found by any name, forgotten when they are long gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.store import catalogues
from holdfast.store.catalogues import ServedBy, publish_catalogue, queue_key, read_documents, read_workers
from holdfast.store.database import Database

NOW = datetime.now(UTC)


def worker(identity: str, hash: str, *, queue: str = "default", age: timedelta = timedelta()) -> ServedBy:
    return ServedBy(
        identity=identity,
        queue=queue,
        hash=hash,
        build_id="b",
        deployment=None,
        holdfast="1",
        started=NOW - age,
        seen=NOW - age,
    )


def test_a_worker_that_publishes_again_replaces_what_it_served(database: Database) -> None:
    first = [worker("1@a", "one", queue=queue) for queue in ("default", "gpu")]
    publish_catalogue(database, {"steps": ["x"]}, first)
    publish_catalogue(database, {"steps": ["x"]}, first)
    assert sorted(read_workers(database), key=lambda one: one.queue) == first
    assert read_documents(database, ["one", "other"]) == {"one": {"steps": ["x"]}}
    publish_catalogue(database, {"steps": ["y"]}, [worker("1@a", "two", queue="gpu")])
    assert {one.queue: one.hash for one in read_workers(database)} == {"default": "one", "gpu": "two"}
    assert set(read_documents(database, ["one", "two"])) == {"one", "two"}


@pytest.mark.parametrize("name", ["x' OR 1=1 --", 'a"b', "nul\0", "\ud800", "😀", "q" * 9000, "=1+1"])
def test_names_may_be_anything(database: Database, name: str) -> None:
    document = {"steps": [{"name": name}]}
    publish_catalogue(database, document, [worker(name, "h", queue=name)])
    [found] = read_workers(database)
    assert (found.identity, found.queue) == (queue_key(name), queue_key(name))
    assert read_documents(database, ["h"]) == {"h": document}


def test_who_is_long_gone_is_forgotten_with_what_it_served(database: Database) -> None:
    publish_catalogue(database, {"n": 1}, [worker("1@a", "old", age=catalogues.KEPT - timedelta(days=2))])
    publish_catalogue(database, {"n": 2}, [worker("2@a", "older", age=catalogues.KEPT + timedelta(days=2))])
    assert [one.identity for one in read_workers(database)] == ["1@a"]
    assert set(read_documents(database, ["old", "older"])) == {"old"}


def test_of_a_queue_the_last_workers_are_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogues, "MAX_WORKERS", 3)
    publish_catalogue(database, {}, [worker("other@a", "h", queue="other", age=timedelta(hours=2))])
    for minutes in range(6, 0, -1):
        publish_catalogue(database, {}, [worker(f"{minutes}@a", "h", age=timedelta(minutes=minutes))])
    kept = [one.identity for one in read_workers(database)]
    assert sorted(kept) == ["1@a", "2@a", "3@a", "other@a"]
