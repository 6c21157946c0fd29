"""Every command ends with the exit code that the guide promises, every time."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from tests.server.conftest import Cli

from holdfast import AlreadyStarted, InvalidInput, NotAllowed, NotFound, RunFailed, Unavailable, WaitTimeout
from holdfast.errors import HoldfastError
from holdfast_server.cli.exits import ExitCode, exit_code

SHORT_CALLS = int(os.environ.get("HOLDFAST_TEST_SHORT_CALLS", "8"))
"""How many short calls in a row; 40 for a thorough look."""


def test_short_calls_in_a_row_all_end_with_0(cli: Cli, finished_run: str) -> None:
    calls = [
        ("run", "flows.py:hello", "-i", '"x"'),
        ("runs", "list"),
        ("approvals", "list"),
        ("runs", "show", finished_run),
    ]
    codes = [cli.process(*calls[index % len(calls)]).returncode for index in range(SHORT_CALLS)]
    assert codes == [0] * SHORT_CALLS


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("x"), ExitCode.USAGE),
        (AlreadyStarted("x"), ExitCode.USAGE),
        (NotFound("x"), ExitCode.NOT_FOUND),
        (Unavailable("x"), ExitCode.UNAVAILABLE),
        (WaitTimeout("x"), ExitCode.UNAVAILABLE),
        (RunFailed("x"), ExitCode.FAILED),
        (NotAllowed("x"), ExitCode.NOT_ALLOWED),
    ],
)
def test_the_class_of_an_error_decides_the_exit_code(error: HoldfastError, code: ExitCode) -> None:
    assert exit_code(error) is code


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["no-such-command"], 2, "No such command"),
        (["runs", "list", "--limit", "0"], 2, "--limit"),
        (["runs", "list", "--home", "here", "--address", "127.0.0.1:1"], 2, "--home"),
        (["run", "flows.py:hello", "-i", "Ada"], 2, "needs quotes"),
        (["approvals", "decide", "some-run", "--approve", "--reject"], 2, "one of --approve, --reject"),
        (["approvals", "decide", "some-run", "--reject", "-i", "{}"], 2, "one of --approve, --reject"),
        (["worker", "no.such.module"], 3, "no module"),
        (["worker", "flows.py", "--chaos", "wild"], 2, "use gentle, moderate, aggressive"),
        (["worker", "flows.py", "--seed", "3"], 2, "--seed goes with --chaos"),
        (["chaos", "inject", "flood"], 2, "half_open"),
        (["demo", "--chaos", "--profile", "[1]"], 2, "a profile is an object"),
        (["demo", "--chaos", "--profile", '{"crash": "often"}'], 2, "crash='often' is no probability"),
        (["demo", "--chaos", "--count", "0"], 2, "--count"),
        (["demo", "--count", "5"], 2, "go with --chaos"),
        (["runs", "list", "--address", "127.0.0.1:1"], 4, "does not answer"),
    ],
)
def test_what_is_wrong_shows_in_one_line_and_in_the_code(
    cli: Cli, arguments: list[str], code: int, says: str
) -> None:
    done = cli(*arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert says in done.stderr
    assert done.stdout == ""


def test_reading_without_a_server_says_what_to_do(cli: Cli) -> None:
    done = cli("runs", "list", "--home", "empty")
    assert done.returncode == 4
    assert "holdfast dev" in done.stderr
    assert not (cli.folder / "empty").exists()


@pytest.mark.usefixtures("finished_run")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["runs", "list", "--state", "odd"], 2, "is not a valid RunState"),
        (["runs", "show", "no-such-run"], 3, "no run"),
        (["runs", "cancel", "no-such-run"], 3, "no run"),
        (["runs", "send", "no-such-run", "name", "1"], 3, "no run"),
        (["approvals", "decide", "no-such-run", "--approve"], 3, "no run"),
        (["approvals", "decide", "no-such-run"], 2, "--approve"),
    ],
)
def test_what_the_server_says_no_to(cli: Cli, arguments: list[str], code: int, says: str) -> None:
    done = cli(*arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr


@pytest.mark.usefixtures("finished_run")
def test_a_reader_that_goes_away_is_no_failure(cli: Cli) -> None:
    command = f"{sys.executable} -m holdfast_server.cli runs list --json --home {cli.home}"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 141, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_ctrl_c_while_the_command_line_is_imported_is_130_without_a_traceback() -> None:
    interrupted = """
import sys
class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "holdfast_server.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, CtrlC())
from holdfast_server.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.INTERRUPTED, "", "")


def test_the_versions_are_printed(cli: Cli) -> None:
    done = cli("--version")
    expected = f"holdfast {version('holdfast')}, temporalio {version('temporalio')}\n"
    assert (done.returncode, done.stdout) == (0, expected)


def test_debug_shows_the_traceback(cli: Cli) -> None:
    done = cli("runs", "list", "--home", "empty", "--debug")
    assert done.returncode == 4
    assert "Traceback" in done.stderr
