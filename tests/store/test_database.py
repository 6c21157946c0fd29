"""Opening a database: from nothing, twice at once, locked, damaged, of a newer Holdfast."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text
from tests.store.postgres import Postgres

from holdfast import InvalidConfiguration, Unavailable
from holdfast.settings import load
from holdfast.store import catalogues as catalogues  # its tables are of the metadata too
from holdfast.store import database as database_module
from holdfast.store.columns import cut, escaped, instant, unescaped
from holdfast.store.database import Database
from holdfast.store.migrate import HEAD, revision
from holdfast.store.schema import cursors, events, metadata
from holdfast.store.upsert import upsert

MIGRATIONS = {"0001_initial.py": "f228668c51bd939344e646acd1208063805a912c178372adc1ab9ab76fac105d"}
"""Of each migration the SHA-256 of its file."""


def test_an_empty_database_gets_all_tables(database: Database) -> None:
    with database.read() as connection:
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())
        assert revision(connection) == HEAD


def test_the_migrations_make_what_the_schema_says(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        ours = [
            change
            for change in compare_metadata(context, metadata)
            if "search" not in str(change)  # indexes of text, which SQLAlchemy does not know
        ]
    assert ours == []


def test_opening_again_keeps_what_is_there(open_database: Callable[[], Database]) -> None:
    with open_database().write() as connection:
        connection.execute(cursors.insert().values(name="x", value={"at": 1}, updated=_now()))
    with open_database().read() as connection:
        assert connection.execute(select(cursors.c.value)).scalar_one() == {"at": 1}


def test_migrations_are_never_changed() -> None:
    folder = Path(database_module.__file__).parent / "migrations" / "versions"
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.py")}
    assert found == MIGRATIONS, "write another migration, and name it here: databases have run these"


def test_the_head_is_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    folder = Path(database_module.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


def test_processes_may_open_an_empty_database_at_once(where: str) -> None:
    code = (
        "import sys\nfrom holdfast.store.database import Database\n"
        "sys.stdin.readline()\nDatabase.open(sys.argv[1]).close()"
    )
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code, where], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in several:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in several:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


def test_tables_of_a_newer_holdfast_are_refused(database: Database, where: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidConfiguration, match="newer"):
        Database.open(where)


def test_what_is_read_is_what_was_written(database: Database) -> None:
    texts = ["", "a\x00b", "\ud800 alone", "😀", "'; DROP TABLE runs; --", "\U0010ffff", "\U0010ffff000041"]
    with database.write() as connection:
        for name in texts:
            connection.execute(cursors.insert().values(name=name, value=[name], updated=_now()))
    with database.read() as connection:
        assert {row.name: row.value for row in connection.execute(select(cursors))} == {t: [t] for t in texts}
        for name in texts:
            found = connection.execute(select(cursors.c.name).where(cursors.c.name == name)).scalars().all()
            assert found == [name]


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute(cursors.insert().values(name="x", value=1, updated=_now()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as connection:
        assert connection.execute(select(cursors)).all() == []


def test_one_writes_at_a_time_so_that_cursors_come_in_order(open_database: Callable[[], Database]) -> None:
    first, second = open_database(), open_database()
    begun, seen = threading.Event(), list[int]()

    def write() -> None:
        begun.set()
        with second.write() as connection:
            connection.execute(events.insert().values(channel="c", kind="later", at=_now()))

    with first.write() as connection:
        connection.execute(events.insert().values(channel="c", kind="earlier", at=_now()))
        thread = threading.Thread(target=write)
        thread.start()
        begun.wait(10)
        with first.read() as reader:  # readers are not held up
            seen += reader.execute(select(events.c.cursor)).scalars()
    thread.join(30)
    assert seen == []
    with first.read() as reader:
        assert reader.execute(select(events.c.kind).order_by(events.c.cursor)).scalars().all() == [
            "earlier",
            "later",
        ]


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    database = Database.open(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(2, other.execute, ["COMMIT"])
    timer.start()
    with database.write() as connection:
        connection.execute(cursors.insert().values(name="x", value=1, updated=_now()))
    timer.join()
    other.close()
    database.close()


def test_a_file_that_stays_locked_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.db"
    Database.open(path).close()
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable, match="locked"):
        Database.open(path)
    other.close()


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "postgresql://u:secret@h:port/d", "sqlite://", "sqlite:///:memory:"]
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        Database.open(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable_and_its_password_is_not_told() -> None:
    with pytest.raises(Unavailable) as caught:
        Database.open("postgres://u:secret@127.0.0.1:1/d")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(InvalidConfiguration, match="no database"):
        Database.open(path)


def test_a_server_that_was_restarted_is_used_again(postgres: Postgres) -> None:
    url = postgres.create("restarted")
    database = Database.open(url)
    postgres.stop()
    with pytest.raises(Unavailable), database.write() as connection:
        connection.execute(select(cursors))
    postgres.start()
    with database.write() as connection:
        connection.execute(cursors.insert().values(name="x", value=1, updated=_now()))
    database.close()


def test_the_environment_names_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLDFAST_DATABASE_URL", raising=False)
    database = Database.of(load(tmp_path))
    assert (tmp_path / "history.db").is_file()
    database.close()
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    Database.of(load(tmp_path)).close()
    assert (tmp_path / "other.db").is_file()


def test_texts_are_cut_at_characters() -> None:
    assert cut("short", 10) == "short"
    assert cut("😀" * 10, 13) == "😀😀…"
    assert len(cut("é" * 10_000, 100).encode()) <= 100
    assert unescaped(escaped("\x00\udfff")) == "\x00\udfff"


def _now() -> datetime:
    return datetime.now(UTC)


def test_a_lazy_transaction_changes_nothing_for_the_next(database: Database) -> None:
    setting = "PRAGMA synchronous" if database.is_sqlite else "SHOW synchronous_commit"
    with database.write() as connection:
        usual = connection.execute(text(setting)).scalar()
    with database.write(lazy=True) as connection:
        assert connection.execute(text(setting)).scalar() in (1, "off")
        upsert(connection, cursors, [{"name": "lazy", "value": 1, "updated": instant(0)}])
    with database.write() as connection:
        assert connection.execute(text(setting)).scalar() == usual
        assert connection.execute(select(cursors.c.value).where(cursors.c.name == "lazy")).scalar() == 1
