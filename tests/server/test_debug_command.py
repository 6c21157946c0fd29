"""`holdfast debug`: pdb in a recorded run."""

from __future__ import annotations

import os
import subprocess
import sys

from .conftest import Cli


def debug(cli: Cli, run: str, commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast_server.cli", "debug", run, "flows.py"],
        cwd=cli.folder,
        env={**os.environ, "HOLDFAST_HOME": str(cli.home)},
        input=commands,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_shows_the_values_of_the_run_and_executes_nothing(cli: Cli, finished_run: str) -> None:
    done = debug(cli, finished_run, "p 'was ' + name\nc\n")
    assert done.returncode == 0, done.stderr
    assert "was Ada" in done.stdout + done.stderr
    assert "greeting" not in done.stdout + done.stderr
    assert f"{finished_run} (hello): the same" in done.stderr


def test_an_unknown_run_is_not_found(cli: Cli) -> None:
    assert debug(cli, "nobody", "").returncode == 3
