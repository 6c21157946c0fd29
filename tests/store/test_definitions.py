"""Stored workflows: versions, conflicts, deletion, and names that are not friendly."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast import Conflict, NotFound
from holdfast.store.database import Database
from holdfast.store.definitions import (
    WorkflowVersion,
    delete_definition,
    find_definition,
    list_definitions,
    list_versions,
    put_definition,
    restore_definition,
)

HOSTILE = [
    "x' OR '1'='1",
    '"; DROP TABLE definitions; --',
    "nul\x00inside",
    "%",
    "_",
    "\ud800",
    "😀",
    "=1+1",
    "a\nb",
    "A" * 10_000,
    "",
]


def put(database: Database, name: str, mark: int, **options: object) -> WorkflowVersion:
    return put_definition(database, name, f"hash-{mark}", {"name": name, "mark": mark}, **options)  # type: ignore[arg-type]


def test_the_same_document_makes_no_new_version(database: Database) -> None:
    first = put(database, "etl", 1, by="ann", note="first")
    assert (first.version, first.is_new) == (1, True)
    again = put(database, "etl", 1, by="bob")
    assert (again.version, again.is_new, again.created_by, again.note) == (1, False, "ann", "first")
    assert put(database, "etl", 2).version == 2
    back = put(database, "etl", 1)
    assert (back.version, back.is_new) == (3, True), "to go back is a version of its own"
    assert [one.version for one in list_versions(database, "etl")] == [3, 2, 1]
    assert find_definition(database, "etl", 2).document == {"name": "etl", "mark": 2}
    assert find_definition(database, "etl").document == {"name": "etl", "mark": 1}


def test_an_update_of_what_somebody_else_changed_is_refused(database: Database) -> None:
    put(database, "etl", 1, if_version=0)
    with pytest.raises(Conflict, match="stored already, at version 1"):
        put(database, "etl", 2, if_version=0)
    put(database, "etl", 2, if_version=1)
    with pytest.raises(Conflict, match="at version 2, not at version 1"):
        put(database, "etl", 3, if_version=1)
    with pytest.raises(Conflict):
        delete_definition(database, "etl", if_version=1)
    with pytest.raises(Conflict, match="not stored"):
        put(database, "other", 1, if_version=4)
    with pytest.raises(NotFound):
        put(database, "other", 1, must_exist=True)
    assert [one.name for one in list_definitions(database)] == ["etl"]


def test_of_many_that_write_at_once_one_wins(open_database: Callable[[], Database]) -> None:
    databases = [open_database() for _ in range(4)]
    put(databases[0], "etl", 0)

    def write(number: int) -> int | None:
        try:
            return put(databases[number % 4], "etl", number + 1, if_version=1).version
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(8)))
    assert sorted(answers, key=str) == [2] + [None] * 7

    def push(number: int) -> WorkflowVersion:
        return put(databases[number % 4], "new", number)

    with ThreadPoolExecutor(8) as pool:
        pushed = list(pool.map(push, range(8)))
    assert sorted(one.version for one in pushed) == list(range(1, 9)), "no version is lost or written twice"


def test_a_deleted_one_is_hidden_and_comes_back(database: Database) -> None:
    put(database, "etl", 1)
    delete_definition(database, "etl")
    assert list_definitions(database) == []
    assert [one.name for one in list_definitions(database, deleted=True)] == ["etl"]
    with pytest.raises(NotFound, match="deleted"):
        find_definition(database, "etl")
    with pytest.raises(NotFound, match="deleted"):
        delete_definition(database, "etl")
    with pytest.raises(NotFound, match="deleted"):
        put(database, "etl", 2, must_exist=True)
    assert find_definition(database, "etl", 1).version.deleted is not None
    assert restore_definition(database, "etl").deleted is None
    assert find_definition(database, "etl").version.version == 1
    delete_definition(database, "etl")
    assert put(database, "etl", 2, if_version=0).version == 2, "made anew, it goes on"
    delete_definition(database, "etl")
    assert put(database, "etl", 2).version == 2
    assert find_definition(database, "etl").version.deleted is None


def test_lists_are_read_page_by_page(database: Database) -> None:
    names = [f"w{number:03}" for number in range(25)]
    for name in reversed(names):
        put(database, name, 1)
    found: list[str] = []
    while page := list_definitions(database, limit=10, after=found[-1] if found else None):
        found += [one.name for one in page]
    assert found == names


@pytest.mark.parametrize("version", [0, -1, 2, 2**31, 2**63, 10**30])
def test_a_version_that_is_none_is_not_found(database: Database, version: int) -> None:
    put(database, "etl", 1)
    with pytest.raises(NotFound, match="there are 1 to 1"):
        find_definition(database, "etl", version)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_values_and_nothing_else(database: Database, name: str) -> None:
    put(database, "innocent", 1)
    for ask in (find_definition, list_versions, delete_definition, restore_definition):
        with pytest.raises(NotFound) as told:
            ask(database, name)
        assert len(str(told.value)) < 1000
    list_definitions(database, after=name)
    assert [one.name for one in list_definitions(database)] == ["innocent"]


def test_notes_and_names_of_people_are_kept_as_they_are(database: Database) -> None:
    note = "=cmd|' /C calc'!A0 \x00 😀 \ud800 " + "x" * 10_000
    made = put(database, "etl", 1, by="o'Brien \x00", note=note)
    found = find_definition(database, "etl").version
    assert (found.created_by, found.note) == (made.created_by, made.note) == ("o'Brien \x00", made.note)
    assert made.note is not None
    assert note.startswith(made.note.removesuffix("…"))
    assert len(made.note) <= 2000
