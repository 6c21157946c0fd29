"""`holdfast doctor`: what is wrong with this machine."""

from __future__ import annotations

from contextlib import AsyncExitStack

import typer
from rich.text import Text

from holdfast.settings import load
from holdfast_server import doctor as checks
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, clean, print_json, stdout
from holdfast_server.cli.target import Target
from holdfast_server.finding import Finding, Verdict

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "doctor", imports=True)(doctor)


async def doctor(target: Target) -> int:
    """Say what is wrong with this machine.

    Checks Python, versions, the Temporal binary, home, disk, ports, server, the history and its
    indexer, executors, and does a real run; with --address, the cluster. Exit code 1 if anything fails.
    """
    settings = load(target.home)
    found: list[Finding] = []
    async with AsyncExitStack() as stack:
        if target.cluster:
            client = await stack.enter_async_context(target.connect(start=False))
            findings = checks.examine_cluster(settings, client)
        else:
            target.announce()
            findings = checks.examine(settings)
        with busy("checking"):
            async for finding in findings:
                found.append(finding)
                if not target.json:
                    _print(finding)
    if target.json:
        print_json([vars(finding) for finding in found])
    return ExitCode.FAILED if any(finding.verdict is Verdict.FAIL for finding in found) else ExitCode.OK


def _print(finding: Finding) -> None:
    line = Text(f"{finding.verdict.upper():<5}", style=_STYLES[finding.verdict])
    line.append(f"{finding.check:<9} {clean(finding.found)}", style="default")
    stdout().print(line, soft_wrap=True)
    if finding.advice:
        stdout().print(Text(f"{'':<15}{clean(finding.advice)}", style="bold"), soft_wrap=True)
