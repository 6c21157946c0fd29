"""`holdfast doctor`: what it checks, and what it says to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.server.conftest import Cli

from holdfast.settings import load
from holdfast_server.doctor import Finding, Verdict, examine

CHECKS = ["python", "versions", "binary", "home", "disk", "ports", "server", "executors", "run"]


def test_a_good_machine_passes(cli: Cli) -> None:
    found = cli.json("doctor")
    assert [finding["check"] for finding in found] == CHECKS
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
