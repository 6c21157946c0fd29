"""`holdfast workflows`: check, draw, store and start DAGs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from holdfast.authoring.catalogue import validate_here
from holdfast.spec.diagram import of_spec
from holdfast.spec.finding import Finding
from holdfast_server.apps import load_app
from holdfast_server.cli import definitions
from holdfast_server.cli.command import command
from holdfast_server.cli.diagrams import Format, Output, print_diagram
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import cell, note, print_json, stdout, table
from holdfast_server.cli.target import Target
from holdfast_server.documents import Checked, one_spec, read_dags

app = typer.Typer(help="Check, draw, store and start DAGs.", no_args_is_help=True, rich_markup_mode=None)

_WHAT = "A DAG document (JSON or YAML), or a file or module with Dag objects, with :NAME for one of them."
_WHAT_TO_CHECK = f"{_WHAT} A folder stands for its documents."


definitions.add(app)


@command(app, "validate", imports=True)
async def validate(
    source: Annotated[
        list[str],
        typer.Argument(metavar="FILE|FOLDER|APP[:NAME]...", help=_WHAT_TO_CHECK, show_default=False),
    ],
    target: Target,
    module: Annotated[
        list[str] | None,
        typer.Option(
            metavar="APP",
            help="An app that the workers serve; may be repeated. With it, steps, workflows and executors that are "
            "neither there nor installed are errors.",
            show_default=False,
        ),
    ] = None,
    served: Annotated[
        bool, typer.Option("--served", help="Also check what workers have published; asks the server.")
    ] = False,
) -> int:
    """Check DAGs, and say everything that is wrong at once. Exit code 1 if one of them cannot be run."""
    for app in module or ():
        load_app(app)
    catalogue = None
    if served:
        async with target.connect(start=False) as client:
            catalogue = await client.workers.catalogue()
    check = functools.partial(validate_here, complete=bool(module), served=catalogue)
    checked = [dag for one in source for dag in read_dags(one, check)]
    if target.json:
        print_json([_as_json(dag) for dag in checked])
    else:
        for dag in checked:
            if dag.findings:
                stdout().print(_findings(dag))
            note(f"{dag.name}: {_verdict(dag.findings)}")
    return ExitCode.FAILED if any(dag.errors for dag in checked) else ExitCode.OK


@command(app, "diagram", imports=True)
async def diagram(
    source: Annotated[str, typer.Argument(metavar="FILE|APP[:NAME]", help=_WHAT, show_default=False)],
    target: Target,
    format: Format = "text",
    output: Output = None,
) -> None:
    """Draw a DAG; one that cannot be run is drawn too, as far as it can be read."""
    print_diagram(of_spec(one_spec(source)), format, output, target)


def _as_json(dag: Checked) -> dict[str, object]:
    return {
        "source": dag.name,
        "name": dag.spec.name if dag.spec else None,
        "nodes": len(dag.spec.nodes) if dag.spec else None,
        "valid": not dag.errors,
        "findings": [finding.as_dict() for finding in dag.findings],
    }


def _findings(dag: Checked) -> object:
    rows: list[Sequence[Text | str]] = [
        [
            f"{dag.name}:{finding.line}:{finding.column}" if finding.line else dag.name,
            cell(
                f"{finding.severity} {finding.code}", style="red" if finding.severity == "error" else "yellow"
            ),
            finding.node or finding.path,
            f"{finding.message}. {finding.fix}",
        ]
        for finding in dag.findings
    ]
    return table(["where", "finding", "node", "what is wrong"], rows)


def _verdict(findings: Sequence[Finding]) -> str:
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    counts = [
        f"{count} {word}{'s'[: count != 1]}" for count, word in ((errors, "error"), (warnings, "warning"))
    ]
    return ", ".join(text for text, count in zip(counts, (errors, warnings), strict=True) if count) or "valid"
