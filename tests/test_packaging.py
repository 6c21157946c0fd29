"""What is built, what installing needs, and what it says when something is missing."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("holdfast", "holdfast_executors", "holdfast_server", "holdfast_ui")
LEFT_BEHIND = shutil.ignore_patterns(
    ".*", "__pycache__", "dist", "build", "demo-output", "tests", "benchmarks"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    source = tmp_path_factory.mktemp("source") / "holdfast"
    shutil.copytree(ROOT, source, ignore=LEFT_BEHIND)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_holds_four_typed_packages_and_the_examples(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in PACKAGES:
        assert {f"{package}/__init__.py", f"{package}/py.typed"} <= names
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name and ".data/" not in name}
    assert top == set(PACKAGES)
    for example in ("briefing.yaml", "data/seattle-weather.csv"):
        assert any(name.endswith(f"data/share/holdfast/examples/{example}") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_sdist_builds_the_same_packages(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    for folder, package in zip(("sdk", "executors", "server", "ui"), PACKAGES, strict=True):
        assert {f"{folder}/{package}/__init__.py", f"{folder}/{package}/py.typed"} <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "examples/data/seattle-weather.csv"} <= names


def test_nothing_built_names_a_path_of_this_machine(wheel: zipfile.ZipFile) -> None:
    places = (str(ROOT).encode(), str(Path.home()).encode() + b"/")
    assert not [name for name in wheel.namelist() if any(place in wheel.read(name) for place in places)]


def test_every_requirement_is_pinned_and_no_index_is_named() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-", text, re.MULTILINE)
    pins = [line for line in text.splitlines() if line.strip()]
    assert all(re.match(r"[a-z0-9._-]+==[\w.+!]+( ; .+)?$", line) for line in pins)
    pinned = {line.split("==")[0] for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for group in (
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ):
        wanted += group
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in wanted}
    assert names - pinned == {"holdfast"}


def _path_with(folder: Path, **interpreters: str) -> str:
    """A PATH with the usual tools, without uv, and with these interpreters that state these versions."""
    for tool in ("sh", "env", "dirname", "sed", "cat"):
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    for name, version in interpreters.items():
        script = folder / name
        script.write_text(f"#!/bin/sh\necho {version}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(folder)


@pytest.mark.parametrize(
    ("interpreters", "message"),
    [
        ({"python3": "3.9"}, "Python 3.11+ needed, found 3.9."),
        ({"python": "2.7"}, "Python 3.11+ needed, found 2.7."),
        ({}, "Python 3.11+ needed, found none."),
    ],
)
def test_setup_says_which_python_is_missing(
    tmp_path: Path, interpreters: dict[str, str], message: str
) -> None:
    checkout, tools = tmp_path / "checkout", tmp_path / "bin"
    (checkout / ".ci").mkdir(parents=True)
    tools.mkdir()
    shutil.copy(ROOT / ".ci" / "setup", checkout / ".ci")
    environment = {"PATH": _path_with(tools, **interpreters), "HOME": os.environ.get("HOME", "/")}
    command = [str(checkout / ".ci" / "setup"), "embedded", "demo"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert not (checkout / ".venv").exists()


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    phony = set(text.partition(".PHONY:")[2].splitlines()[0].split()) - {"broken-venv"}
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    listed = {words[1] for line in done.stdout.splitlines() if (words := line.split())[:1] == ["make"]}
    assert phony == listed
