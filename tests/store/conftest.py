"""Every test that takes `database` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.store.postgres import Postgres, programs

from holdfast.store.database import Database

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("no wheel with PostgreSQL for this machine")
    # Not under pytest's own folder, which other users may not enter.
    folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
    folder.chmod(0o755)
    server = Postgres(folder / "data")
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/history.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"store_{next(_numbers)}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
def open_database(where: str) -> Iterator[Callable[[], Database]]:
    """Opens the database of this test once more."""
    opened: list[Database] = []

    def open_one() -> Database:
        opened.append(Database.open(where))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def database(open_database: Callable[[], Database]) -> Database:
    return open_database()
