"""Retry and fork from the command line."""

from __future__ import annotations

import uuid

from tests.server.conftest import Cli


def test_a_run_is_retried_and_forked(cli: Cli) -> None:
    run = f"failing-{uuid.uuid4().hex}"
    with cli.background("worker", "flows.py", "--queue", "default"):
        assert cli("run", "flows.py:failing", "--id", run, "--input", '"closed"').returncode == 1
        plan = cli.json("runs", "retry", run, "--preview")
        assert (plan["kind"], plan["runs_again"], plan["reused"]) == ("retry", ["refuse"], [])
        again = cli("runs", "retry", run, "--by", "ada", "--reason", "open again")
        assert again.returncode == 0, again.stderr
        assert cli("runs", "watch", run).returncode == 1  # it is refused again
        described = cli.json("runs", "show", run)
        assert (described["origin"]["by"], described["origin"]["reason"]) == ("ada", "open again")
        forked = cli.json("runs", "fork", run, "--input", '"still closed"', "--id", f"{run}-2")
        assert forked == {"id": f"{run}-2", "forked_from": run}
        unknown = cli("runs", "fork", run, "--from-step", "greet")
        assert "has never begun step 'greet'; it has begun: refuse" in unknown.stderr
