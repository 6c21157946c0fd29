"""`holdfast gc`: delete large payloads that nothing refers to."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from holdfast import Client, InvalidConfiguration
from holdfast.client.actions import record
from holdfast.engine.data.gc import collect
from holdfast.settings import load
from holdfast_server.cli.command import command
from holdfast_server.cli.duration import duration
from holdfast_server.cli.exits import ExitCode
from holdfast_server.cli.output import busy, note, print_json, say
from holdfast_server.cli.record import By, Reason
from holdfast_server.cli.target import Target


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "gc")(gc)


async def gc(
    target: Target,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete what nothing refers to. Without: only report.")
    ] = False,
    min_age: Annotated[
        timedelta, typer.Option(parser=duration, metavar="DURATION", help="Payloads used in this time stay.")
    ] = timedelta(hours=24),
    storage: Annotated[
        Path | None, typer.Option(help="The directory. Default: HOLDFAST_STORAGE, else blobs under the home.")
    ] = None,
    reason: Reason = "",
    by: By = None,
) -> int:
    """Find stored payloads that no history refers to, and delete them with --delete.

    Exit code 1 if anything could not be read; then nothing is deleted.
    """
    async with target.connect(start=False) as client:
        folder = storage or _storage(client)
        if not folder.is_dir() and storage is None:
            note(f"nothing is stored: there is no {folder}")
            return ExitCode.OK
        with busy("reading histories") as show:
            report = await collect(
                folder,
                client.temporal,
                dry_run=not delete,
                min_age=min_age,
                progress=lambda what, count: show(f"{count} {what}"),
            )
        if report.deleted and report.garbage:
            facts = {"storage": str(folder), "count": len(report.garbage), "bytes": report.garbage_bytes}
            await record(client, "delete payloads", subject="payloads", why=reason, by=by, details=facts)
    if target.json:
        print_json({"storage": str(folder), **asdict(report), "deleted": report.deleted})
    else:
        say(
            f"{report.blob_count} stored in {folder}, {report.referenced_count} in use, {report.young_count} too young"
        )
        size = f"{len(report.garbage)} ({report.garbage_bytes / 1024 / 1024:.1f} MiB)"
        say(f"{size} deleted" if report.deleted else f"{size} could be deleted")
        if not delete and report.garbage:
            note("delete them: holdfast gc --delete")
        for problem in report.unreadable:
            note(f"unreadable: {problem}", style="red")
        if report.unreadable:
            note("nothing is deleted while anything cannot be read", style="red")
    return ExitCode.FAILED if report.unreadable else ExitCode.OK


def _storage(client: Client) -> Path:
    configured = load().storage
    if configured is None and client.home is not None:
        return client.home / "blobs"
    if configured is None or configured.startswith("s3://"):
        raise InvalidConfiguration("gc works on directories: name one with --storage DIRECTORY")
    return Path(configured)
