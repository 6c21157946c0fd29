"""Looking at a database as it is, upgrading it, and making it anew."""

from __future__ import annotations

import pytest
from sqlalchemy import event, inspect, text
from tests.store.made import made

from holdfast import InvalidConfiguration
from holdfast.store.database import Database
from holdfast.store.definitions import list_definitions, put_definition
from holdfast.store.filters import RunFilter
from holdfast.store.maintenance import describe_database, reset_database, upgrade_database
from holdfast.store.migrate import HEAD
from holdfast.store.runs import count_runs, list_runs
from holdfast.store.writer import write_runs


def test_an_empty_database_is_described_and_upgraded(where: str) -> None:
    database = Database.open(where, upgrade=False)
    try:
        found = describe_database(database)
        assert (found.revision, found.head, found.runs) == (None, HEAD, 0)
        assert upgrade_database(database) is None
        assert upgrade_database(database) == HEAD
        assert describe_database(database).revision == HEAD
    finally:
        database.close()


def test_what_is_there_is_counted(database: Database) -> None:
    write_runs(database, [made("a"), made("b")])
    put_definition(database, "etl", "hash", {})
    found = describe_database(database)
    assert (found.runs, found.workflows, found.unreadable) == (2, 1, 0)
    assert found.size_bytes > 10_000
    assert found.to_dict()["pruned_before"] is None


def test_a_reset_leaves_nothing_but_what_is_not_ours(database: Database) -> None:
    write_runs(database, [made("alpha"), made("b")])
    put_definition(database, "etl", "hash", {})
    with database.write() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    reset_database(database)
    assert count_runs(database, RunFilter()) == 0
    assert list_definitions(database) == []
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM theirs")).scalar_one() == 0
    write_runs(database, [made("alpha")])
    assert [run.id for run in list_runs(database, RunFilter(text="lph")).runs] == ["alpha"]


def test_a_reset_leaves_nobody_without_tables(database: Database) -> None:
    seen: list[bool] = []
    event.listen(
        database.engine, "commit", lambda connection: seen.append(inspect(connection).has_table("runs"))
    )
    reset_database(database)
    assert seen
    assert all(seen)


def test_tables_that_lack_columns_are_named_and_can_be_reset(database: Database, where: str) -> None:
    with database.write() as connection:
        connection.execute(text("ALTER TABLE dead_letters DROP COLUMN reason"))
    with pytest.raises(InvalidConfiguration, match=r"lack dead_letters\.reason.*`holdfast db reset`"):
        Database.open(where)
    other = Database.open(where, upgrade=False)
    try:
        found = describe_database(other)
        assert (found.lacks, found.is_current) == (["dead_letters.reason"], False)
        reset_database(other)
        assert describe_database(other).is_current
    finally:
        other.close()


def test_tables_of_a_newer_holdfast_can_be_looked_at_and_reset(database: Database, where: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidConfiguration, match=r"newer.*`holdfast db reset`"):
        Database.open(where)
    other = Database.open(where, upgrade=False)
    try:
        assert describe_database(other).revision == "9999"
        with pytest.raises(InvalidConfiguration, match="newer"):
            upgrade_database(other)
        reset_database(other)
        assert describe_database(other).revision == HEAD
    finally:
        other.close()
