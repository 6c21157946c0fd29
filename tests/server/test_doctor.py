"""`holdfast doctor`: what it checks, and what it says to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from temporalio.api.common.v1 import WorkflowExecution
from tests.server.conftest import Cli

from holdfast.indexer import progress
from holdfast.indexer.leases import Leases
from holdfast.settings import load
from holdfast.store.database import Database
from holdfast.store.triggers import note_lost_events
from holdfast_server.doctor import examine
from holdfast_server.doctor_store import examine_store
from holdfast_server.finding import Finding, Verdict

CHECKS = ["python", "versions", "binary", "home", "disk", "ports", "server", "store", "executors", "run"]


def test_a_good_machine_passes(cli: Cli) -> None:
    found = cli.json("doctor")
    # Other tests may have indexed this home.
    assert [finding["check"] for finding in found if finding["check"] != "indexer"] == CHECKS
    assert {finding["verdict"] for finding in found} <= {"ok", "warn"}


async def test_what_is_wrong_fails_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("a file")
    (tmp_path / "temporal").write_text("#!/bin/sh\necho broken; exit 3\n")
    (tmp_path / "temporal").chmod(0o755)
    monkeypatch.setenv("HOLDFAST_TEMPORAL_BINARY", str(tmp_path / "temporal"))
    found = {finding.check: finding async for finding in examine(load(tmp_path / "home"))}
    failed = {name for name, finding in found.items() if finding.verdict is Verdict.FAIL}
    assert failed == {"binary", "home", "run"}
    assert all(found[name].advice for name in failed)
    assert "broken" in found["binary"].found


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
async def test_a_home_that_cannot_be_written_fails_also_for_root() -> None:
    found = {finding.check: finding async for finding in examine(load(Path("/proc/x")))}
    assert found["home"].verdict is Verdict.FAIL
    assert "/proc/x cannot be written" in found["home"].found
    assert "--home" in found["home"].advice


def test_a_failed_check_is_a_failed_command(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    async def examine_nothing(settings: object) -> object:
        del settings
        yield Finding(check="python", verdict=Verdict.FAIL, found="too old", advice="a newer one")

    monkeypatch.setattr("holdfast_server.doctor.examine", examine_nothing)
    done = cli("doctor")
    assert done.returncode == 1
    assert "FAIL python    too old" in done.stdout
    assert "a newer one" in done.stdout


async def test_tables_that_lack_columns_fail_with_the_command_that_makes_them_anew(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "history.db")
    with database.write() as connection:
        connection.execute(text("ALTER TABLE runs DROP COLUMN gap"))
    database.close()
    [found] = [finding async for finding in examine_store(load(tmp_path))]
    assert (found.check, found.verdict) == ("store", Verdict.FAIL)
    assert "lack runs.gap" in found.found
    assert "holdfast db reset" in found.found


async def test_the_store_and_its_indexer_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look() -> dict[str, Finding]:
        return {finding.check: finding async for finding in examine_store(load(tmp_path))}

    assert "not yet made" in (await look())["store"].found
    database = Database.open(tmp_path / "history.db")
    found = await look()
    assert found["store"].verdict is Verdict.OK
    assert "revision 0001, 0 runs" in found["store"].found
    assert found["indexer"].verdict is Verdict.WARN
    assert found["indexer"].found == "0 at work, nothing was ever indexed"
    assert "holdfast indexer" in found["indexer"].advice
    Leases(database).renew()
    progress.save_cursor(database, range(16), "default", progress.Cursor())
    odd = WorkflowExecution(workflow_id="odd", run_id="x")
    progress.keep_aside(database, [(odd, "its history does not begin with the start")])
    found = await look()
    assert found["indexer"].verdict is Verdict.OK
    assert found["indexer"].found.startswith("1 at work, ")
    assert "odd: its history does not begin" in found["unread"].found
    assert "triggers" not in found
    note_lost_events(database, after=3, until=9)
    found = await look()
    assert found["triggers"].verdict is Verdict.WARN
    assert "after cursor 3 up to 9" in found["triggers"].found
    database.close()
    (tmp_path / "history.db").write_bytes(b"no database" * 1000)
    assert (await look())["store"].verdict is Verdict.FAIL
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    found = await look()
    assert found["store"].verdict is Verdict.FAIL
    assert "secret" not in found["store"].found
