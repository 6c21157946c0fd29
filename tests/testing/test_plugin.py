"""The plugin in projects of other kinds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FLOWS = """
from holdfast import step, workflow

@step
async def shout(text: str) -> str:
    return text.upper()

@workflow
async def greet(name: str) -> str:
    return await shout(name)
"""

ANYIO = """
import pytest
from flows import greet
from holdfast import Worker

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def test_it(holdfast_client):
    async with Worker(holdfast_client, [greet]):
        assert await holdfast_client.run(greet, "you") == "YOU"
"""

PLAIN = """
import asyncio
from flows import greet
from holdfast import Worker

def test_it(holdfast_client):
    async def main():
        async with Worker(holdfast_client, [greet]):
            return await holdfast_client.run(greet, "you")
    assert asyncio.run(main()) == "YOU"
"""

UNUSED = """
import threading

def test_it():
    assert "holdfast-test-server" not in {thread.name for thread in threading.enumerate()}
"""


@pytest.mark.parametrize(
    ("test", "plugins"),
    [(ANYIO, ["-p", "anyio.pytest_plugin"]), (PLAIN, []), (UNUSED, [])],
    ids=["anyio", "no async plugin", "unused"],
)
def test_it_works_in_a_project_with(test: str, plugins: list[str], tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS, "utf-8")
    (tmp_path / "test_it.py").write_text(test, "utf-8")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-p", "holdfast.testing.plugin", *plugins],
        cwd=tmp_path,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
