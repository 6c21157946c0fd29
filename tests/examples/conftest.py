"""One home, and so one server, for all examples."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.engine import embedded

RunScript = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of an embedded server, which is stopped at the end."""
    folder = tmp_path_factory.mktemp("home")
    yield folder
    asyncio.run(embedded.stop(folder))


@pytest.fixture
def run_script(home: Path, tmp_path: Path) -> RunScript:
    """Runs a script with the shared home, in a folder of its own, as a user would."""

    def run(script: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(script), *arguments],
            cwd=tmp_path,
            env={**os.environ, "HOLDFAST_HOME": str(home), "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
