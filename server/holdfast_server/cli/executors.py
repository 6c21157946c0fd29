"""`holdfast executors`: what the `type` of a node may name here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from holdfast import ExecutorOptions, NotFound
from holdfast.authoring.catalogue import ExecutorEntry, entry_of
from holdfast.authoring.registry import registry
from holdfast_server.cli.command import command
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, note, print_json, say, span, stdout, table
from holdfast_server.cli.target import Target
from holdfast_server.executors import Field, fields, installed, version_of

app = typer.Typer(help="What the type of a node may name here.", no_args_is_help=True, rich_markup_mode=None)


@command(app, "list", imports=True)
async def list_executors(target: Target) -> int:
    """List the executors that are installed here, and what is wrong with any.

    Exit code 1 if one cannot be used.
    """
    with busy("importing executors"):
        here = await asyncio.to_thread(installed)
    if target.json:
        print_json(
            {
                "executors": [_document(entry) for entry in here.entries],
                "problems": [vars(problem) for problem in here.problems],
            }
        )
    else:
        stdout().print(
            table(
                ["type", "package", "is", "what it does"],
                [
                    [
                        entry.type,
                        f"{entry.package} {version_of(entry.package)}".strip(),
                        ", ".join(_marks(entry.options)),
                        entry.description.split("\n")[0],
                    ]
                    for entry in here.entries
                ],
            )
        )
        for problem in here.problems:
            note(problem.message, style="red")
        note("one of them: holdfast executors show TYPE", style="dim")
    return ExitCode.FAILED if here.problems else ExitCode.OK


@command(app, "show", imports=True)
async def show(
    type: Annotated[str, typer.Argument(metavar="TYPE", help="Its type.", show_default=False)], target: Target
) -> None:
    """Show what an executor takes and gives. With --json: its JSON Schemas."""
    known = registry().executors
    if type not in known.types():
        raise NotFound(f"there is no executor {type!r} here; there is: {', '.join(known.types())}")
    found = await asyncio.to_thread(known.find, type)
    entry = entry_of(found, package=known.package_of(type))
    if target.json:
        print_json(_document(entry))
        return
    say(entry.type, style="bold")
    say(entry.description)
    say(f"package {entry.package} {version_of(entry.package)}".rstrip())
    options = entry.options
    say(
        f"timeout {span(options.timeout)}, {options.retry.max_attempts or 'any number of'} attempts, "
        f"{', '.join(_marks(options)) or 'not idempotent'}"
    )
    _print_fields("config", entry.config_schema)
    _print_fields("output", entry.output_schema)


def _print_fields(title: str, schema: Mapping[str, Any]) -> None:
    say(f"\n{title}", style="bold")
    rows = list(fields(schema))
    if not rows:
        say("any value")
        return
    stdout().print(
        table(
            ["field", "type", "default", "meaning"],
            [[row.name, row.type, _default(row, title), " ".join(row.description.split())] for row in rows],
        )
    )


def _default(row: Field, title: str) -> str:
    if row.required:
        return "required" if title == "config" else ""
    return "" if row.default is None else json.dumps(row.default, ensure_ascii=False)


def _marks(options: ExecutorOptions) -> list[str]:
    marks = {
        "with effects": options.has_effects,
        "idempotent": options.idempotent,
        "may run local": options.local,
    }
    return [mark for mark, holds in marks.items() if holds]


def _document(entry: ExecutorEntry) -> dict[str, Any]:
    return {**entry.document(), "version": version_of(entry.package) or None}
