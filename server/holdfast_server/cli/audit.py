"""`holdfast audit`: what in workflows breaks, or is not to be relied on."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import typer
from rich.text import Text

from holdfast import InvalidInput
from holdfast.spec.audit import CodeFinding, Level
from holdfast_server.audit import Found, audit
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, clean, note, print_json, stdout
from holdfast_server.cli.target import Target

_STYLES = {"error": "bold red", "warning": "yellow"}


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "audit", imports=True)(audit_command)


async def audit_command(
    app: Annotated[
        str,
        typer.Argument(
            metavar="PATH|MODULE", help="A DAG document, a Python file, a folder of them, or a module."
        ),
    ],
    target: Target,
    strict: Annotated[bool, typer.Option("--strict", help="Also what hurts when something fails.")] = False,
    paranoid: Annotated[bool, typer.Option("--paranoid", help="Also what is not bounded.")] = False,
    pedantic: Annotated[bool, typer.Option("--pedantic", help="Also what is only not clear.")] = False,
    format: Annotated[
        Literal["text", "json"], typer.Option(help="For people or for programs; --json is the same.")
    ] = "text",
    only_errors: Annotated[bool, typer.Option("--only-errors", help="Leave warnings out.")] = False,
) -> int:
    """Check workflows without running them: the graphs of DAGs, and the code of workflows.

    Exit code 0: no errors. 1: errors. 2: something could not be audited. Workflow code is read, not imported; a
    file that makes a Dag is imported.
    """
    level = _level(strict=strict, paranoid=paranoid, pedantic=pedantic)
    with busy("auditing") as show:
        report = audit(app, level, show)
    counts = Counter(found.finding.severity for found in report.found)
    listed = [found for found in report.found if not only_errors or found.finding.severity == "error"]
    if target.json or format == "json":
        print_json(
            {
                "level": level,
                "files": report.files,
                "errors": counts["error"],
                "warnings": counts["warning"],
                "findings": [found.as_dict() for found in listed],
                "problems": report.problems,
            }
        )
    else:
        for found in listed:
            _print(found)
    for problem in report.problems:
        note(f"not audited: {problem}", style="red")
    note(
        f"{_many(counts['error'], 'error')} and {_many(counts['warning'], 'warning')} "
        f"in {_many(len(report.files), 'file')}, level {level}",
        style="dim",
    )
    if report.problems:
        return ExitCode.USAGE
    return ExitCode.FAILED if counts["error"] else ExitCode.OK


def _level(*, strict: bool, paranoid: bool, pedantic: bool) -> Level:
    choices: list[tuple[bool, Level]] = [(strict, "strict"), (paranoid, "paranoid"), (pedantic, "pedantic")]
    chosen: list[Level] = [level for wanted, level in choices if wanted]
    if len(chosen) > 1:
        raise InvalidInput(f"--{' and --'.join(chosen)} are levels: give one of them")
    return chosen[0] if chosen else "normal"


def _print(found: Found) -> None:
    finding = found.finding
    place = f"{found.file}:{finding.line}" if finding.line else found.file
    inner = ", ".join(
        f"{what} {name}" for what, name in (("dag", found.dag), ("node", finding.node)) if name is not None
    )
    line = Text(clean(f"{place}: "), style="bold")
    line.append(finding.severity, style=_STYLES[finding.severity])
    line.append(clean(f" {finding.code} {f'({inner}) ' if inner else ''}{finding.message}"), style="not bold")
    stdout().print(line, soft_wrap=True)
    if isinstance(finding, CodeFinding) and len(finding.chain) > 1:
        stdout().print(
            Text(clean(f"    reached by {' -> '.join(finding.chain)}"), style="dim"), soft_wrap=True
        )
    stdout().print(Text(clean(f"    {finding.fix}")), soft_wrap=True)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
