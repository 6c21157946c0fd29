"""`holdfast db`, and the settings that it goes by."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.store.made import made

from holdfast import InvalidConfiguration
from holdfast.settings import load
from holdfast.store.audit_log import Action, list_actions
from holdfast.store.database import FILE_NAME, Database
from holdfast.store.migrate import HEAD
from holdfast.store.writer import write_runs

from .conftest import Cli


@pytest.fixture
def own(cli: Cli, tmp_path: Path) -> Cli:
    """The command line with a home that has no history yet."""
    return replace(cli, home=tmp_path / "own")


def fill(own: Cli, *days: int) -> None:
    database = Database.open(own.home / FILE_NAME)
    write_runs(database, [made(f"d{age}", started=datetime.now(UTC) - timedelta(days=age)) for age in days])
    database.close()


def recorded(own: Cli) -> list[Action]:
    database = Database.open(own.home / FILE_NAME)
    found = list_actions(database)
    database.close()
    return found


def test_without_a_history_nothing_is_made(own: Cli) -> None:
    for command in ("info", "reset", "prune"):
        done = own("db", command)
        assert done.returncode == 3, done.stderr
        assert str(own.home / FILE_NAME) in done.stderr
    assert not own.home.exists()


def test_an_upgrade_tells_from_where_to_where(own: Cli) -> None:
    told = own("db", "upgrade")
    assert f"empty -> {HEAD}" in told.stdout
    assert own.json("db", "upgrade")["from"] == HEAD
    assert own.json("db", "info")["revision"] == HEAD


def test_old_runs_are_counted_then_deleted(own: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(own, 1, 40, 100)
    assert own.json("db", "prune", "--dry-run")["runs"] == 1
    assert own.json("db", "prune", "--dry-run", "--older-than", "30d")["runs"] == 2
    assert own.json("db", "info")["runs"] == 3
    monkeypatch.setenv("HOLDFAST_RETENTION_DAYS", "0")
    assert own.json("db", "prune")["runs"] == 0, "0 keeps them for ever"
    assert own.json("db", "prune", "--older-than", "30d", "--by", "Ada", "--reason", "room")["runs"] == 2
    assert own.json("db", "info")["runs"] == 1
    ada, other = recorded(own)
    assert (ada.what, ada.subject, ada.why, ada.result) == ("prune", "database", "room", "done")
    assert ada.details == {"older_than": "30 days, 0:00:00", "runs": 2, "events": 0}
    assert (other.what, "@" in other.who) == ("prune", True)
    assert own("db", "prune", "--older-than", "9999999d").returncode == 2


def test_a_reset_needs_a_yes(own: Cli) -> None:
    fill(own, 1)
    done = own("db", "reset")
    assert done.returncode == 2
    assert FILE_NAME in done.stderr, "it names what would be deleted"
    assert own.json("db", "info")["runs"] == 1
    assert own.json("db", "reset", "--yes", "--reason", "anew")["reset"] is True
    assert own.json("db", "info")["runs"] == 0
    [action] = recorded(own)
    assert (action.what, action.why) == ("reset", "anew")


@pytest.mark.parametrize("value", ["-1", "1.5", "soon", "99999", "٣"])
def test_a_retention_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HOLDFAST_RETENTION_DAYS", value)
    with pytest.raises(InvalidConfiguration, match="HOLDFAST_RETENTION_DAYS"):
        load()


def test_how_long_what_is_kept_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"": "runs", "EVENT_": "events", "DEAD_LETTER_": "letters", "AUDIT_": "actions"}
    for kind in kinds:
        monkeypatch.delenv(f"HOLDFAST_{kind}RETENTION_DAYS", raising=False)
    kept = load().retention
    assert [getattr(kept, field).days for field in kinds.values()] == [90, 14, 90, 365]
    for days, kind in enumerate(kinds):
        monkeypatch.setenv(f"HOLDFAST_{kind}RETENTION_DAYS", str(days))
    kept = load().retention
    times = [kept.runs, kept.events, kept.letters, kept.actions]
    assert times == [None, *(timedelta(days=days) for days in (1, 2, 3))]
