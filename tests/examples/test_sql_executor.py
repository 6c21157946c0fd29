"""The example of an executor in a package of its own: built, installed beside Holdfast, found, used, tested."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "examples" / "sql_executor"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package's wheel unpacked, as an installer leaves it. Nothing is downloaded."""
    folder = tmp_path_factory.mktemp("sql")
    shutil.copytree(SOURCE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def python(
    installed: Path | None, home: Path, folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": str(installed)} if installed is not None else {}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **path, "HOLDFAST_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_it_is_listed_where_it_is_installed_and_only_there(
    installed: Path, home: Path, tmp_path: Path
) -> None:
    listing = ("-m", "holdfast_server.cli", "executors", "list", "--json")
    here = json.loads(python(installed, home, tmp_path, *listing).stdout)
    [found] = [one for one in here["executors"] if one["type"] == "sql"]
    assert (found["package"], found["version"]) == ("holdfast-sql", "0.1.0")
    assert here["problems"] == []
    elsewhere = json.loads(python(None, home, tmp_path, *listing).stdout)
    assert "sql" not in [one["type"] for one in elsewhere["executors"]]


def test_a_dag_runs_it(installed: Path, home: Path, tmp_path: Path) -> None:
    done = python(installed, home, tmp_path, str(SOURCE / "report.py"))
    assert (done.returncode, done.stdout) == (0, "A-2: 700\nA-3: 900\n"), done.stderr


def test_its_own_tests_pass(installed: Path, home: Path) -> None:
    """They hold `executor_contract`."""
    folder = installed.parent / "source"
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib")
    done = python(installed, home, folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "56 passed" in done.stdout
