"""What workers serve, put together: newest first, differences named, nothing lost when all are gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.catalogue import Catalogue, current, merge
from holdfast.store.catalogues import ServedBy

NOW = datetime.now(UTC)


def worker(identity: str, queue: str, hash: str, build: str | None, minute: int) -> ServedBy:
    return ServedBy(
        identity=identity,
        queue=queue,
        hash=hash,
        build_id=build,
        deployment=None,
        holdfast="1",
        started=NOW + timedelta(minutes=minute),
        seen=NOW,
    )


def steps(**schemas: Any) -> dict[str, Any]:
    return {"steps": [{"name": name, "input_schema": schema} for name, schema in schemas.items()]}


def together(workers: list[ServedBy], documents: dict[str, Any], *live: str) -> Catalogue:
    there = {(one.identity, one.queue) for one in workers if one.identity in live}
    return merge(current(workers, there), documents, there)


DOCUMENTS = {"h1": steps(charge={}, refund={}), "h2": steps(charge={"type": "object"}, ship={})}


def test_workers_that_are_there_count_and_what_differs_is_named() -> None:
    workers = [
        worker("1@a", "q", "h1", "may", 1),
        worker("2@a", "q", "h2", "june", 2),
        worker("3@a", "q", "h0", "april", 0),
        worker("4@a", "z", "h1", "may", 1),
    ]
    found = together(workers, DOCUMENTS, "1@a", "2@a")
    assert [(build.name, build.workers) for build in found.builds] == [
        ("june", ["2@a"]),
        ("may", ["1@a"]),
    ]
    assert found.builds[1].queues == ["q", "z"]
    assert found.builds[0].serves == {"workflows": [], "steps": ["charge", "ship"], "executors": []}
    [difference] = found.differences
    assert (difference.kind, difference.name, difference.queue) == ("steps", "charge", "q")
    assert difference.builds == ["june", "may"], "the newest first"
    charge = found.find("steps", "charge", queue="q")
    assert charge is not None
    assert (charge.input_schema, charge.builds, charge.live) == ({"type": "object"}, ["june"], True)
    gone = found.find("steps", "charge", queue="z")
    assert gone is not None
    assert (gone.input_schema, gone.live) == ({}, False), "the same name on another queue is another step"
    assert found.find("steps", "charge") == charge, "one of a worker that is there comes first"
    assert found.find("steps", "nothing") is None


def test_of_a_queue_without_workers_it_is_what_the_last_one_served() -> None:
    workers = [worker("1@a", "q", "h1", "may", 1), worker("2@a", "q", "h2", "june", 2)]
    found = together(workers, DOCUMENTS)
    assert [offer.name for offer in found.steps] == ["charge", "ship"]
    assert not any(offer.live for offer in found.steps)
    assert [(build.name, build.workers) for build in found.builds] == [("june", [])]
    assert not found.differences


def test_builds_of_one_name_are_told_apart_and_many_workers_are_one_build() -> None:
    workers = [worker(f"{n}@a", "q", "h1", "may", n) for n in range(3)]
    workers.append(worker("9@a", "q", "h2", "may", 9))
    found = together(workers, DOCUMENTS, *(one.identity for one in workers))
    assert [build.name for build in found.builds] == ["may/h2", "may/h1"]
    assert found.builds[1].workers == ["0@a", "1@a", "2@a"]
    unnamed = together([worker("1@a", "q", "h1", None, 1)], DOCUMENTS)
    assert [build.name for build in unnamed.builds] == ["h1"]


def test_what_a_newer_holdfast_wrote_is_read_as_far_as_it_can_be() -> None:
    strange = {
        "steps": [7, {"x": 1}, {"name": ["a"]}, {"name": "ok", "new": 1}],
        "workflows": None,
        "more": [],
    }
    found = together([worker("1@a", "q", "h", None, 1), worker("2@a", "z", "gone", None, 1)], {"h": strange})
    assert [offer.name for offer in found.steps] == ["ok"]
    assert found.to_dict()["steps"]
