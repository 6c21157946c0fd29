"""`holdfast db`: care of the database of the history."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast import InvalidConfiguration, InvalidInput, NotFound
from holdfast.client.actions import whoever
from holdfast.settings import Settings, load
from holdfast_server.cli.command import command
from holdfast_server.cli.confirm import confirm
from holdfast_server.cli.duration import duration
from holdfast_server.cli.output import busy, note, print_json, say, when
from holdfast_server.cli.record import By, Reason
from holdfast_server.cli.target import Target

if TYPE_CHECKING:
    from holdfast.store.database import Database

_LONGEST = timedelta(days=36_500)

app = typer.Typer(help="Care of the database of the history.", no_args_is_help=True, rich_markup_mode=None)


@command(app, "info")
async def info(target: Target) -> None:
    """What the database holds: its revision, its size, how many runs."""
    from holdfast.indexer.outages import outages
    from holdfast.store.maintenance import describe_database

    database = await _open(target)
    try:
        found = await asyncio.to_thread(describe_database, database)
        missing = await asyncio.to_thread(outages, database) if found.is_current else ()
    finally:
        database.close()
    if target.json:
        print_json({**found.to_dict(), "outages": [outage.to_dict() for outage in missing]})
        return
    say(f"database {found.name}")
    say(
        f"revision {found.revision or 'none'}"
        + ("" if found.revision == found.head else f" (of {found.head})")
    )
    say(f"size {found.size_bytes / 1024 / 1024:.1f} MiB")
    say(f"{found.runs} runs, {found.events} events, {found.workflows} stored workflows")
    if found.unreadable:
        say(f"{found.unreadable} histories cannot be read")
    for outage in missing:
        since, until = when(outage.since), when(outage.until)
        say(
            f"runs that ended between {since} and {until} may be missing: Temporal deleted them before they were read"
        )
    if found.pruned_before:
        say(f"runs that ended before {when(found.pruned_before)} are not kept")
    if found.lacks:
        note(f"it lacks {', '.join(found.lacks[:3])}, and cannot be used: holdfast db reset", style="red")
    elif found.revision != found.head:
        note("bring it up to date: holdfast db upgrade")


@command(app, "upgrade")
async def upgrade(target: Target) -> None:
    """Bring the tables up to date. Every command and indexer that opens the database does so too."""
    from holdfast.store.maintenance import upgrade_database
    from holdfast.store.migrate import HEAD

    database = await _open(target, make=True)
    try:
        with busy("upgrading"):
            before = await asyncio.to_thread(upgrade_database, database)
        name = database.name
    finally:
        database.close()
    if target.json:
        print_json({"database": name, "from": before, "to": HEAD})
    elif before == HEAD:
        say(f"{name} is up to date at {HEAD}")
    else:
        say(f"{name}: {before or 'empty'} -> {HEAD}")


@command(app, "reset")
async def reset(
    target: Target,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Delete everything in the database. Indexers read again what Temporal still has.

    Stored workflows, event triggers, dead letters and the record of actions are lost: they stand nowhere else. The
    first action in the new record is this one.
    """
    from holdfast.store.maintenance import reset_database

    database = await _open(target)
    try:
        if not yes:
            what = f"This deletes the history, the stored workflows and the record of actions in {database.name}."
            unasked = f"this deletes everything in {database.name}: say so with --yes"
            confirm(f"{what} Delete everything?", unasked=unasked, as_json=target.json)
        with busy("deleting"):
            await asyncio.to_thread(reset_database, database)
            await _record(database, "reset", by, reason)
        name = database.name
    finally:
        database.close()
    if target.json:
        print_json({"database": name, "reset": True})
    else:
        say(f"{name} is empty")
        note("fill it with what Temporal has: holdfast indexer --once")


@command(app, "prune")
async def prune_(
    target: Target,
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="Runs that ended so long ago. Default: HOLDFAST_RETENTION_DAYS.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Delete runs that ended long ago, and old events, as indexers do once an hour. Figures by day stay."""
    from holdfast.store.retention import count_old, prune

    if older_than is not None and older_than > _LONGEST:
        raise InvalidInput(f"--older-than: at most {_LONGEST.days}d")
    kept = load(target.home).retention
    if older_than is not None:
        kept = replace(kept, runs=older_than)
    database = await _open(target, current=True)
    try:
        with busy("counting" if dry_run else "deleting"):
            gone = await asyncio.to_thread(count_old if dry_run else prune, database, kept)
        if not dry_run:
            older = None if kept.runs is None else str(kept.runs)
            await _record(database, "prune", by, reason, older_than=older, runs=gone.runs, events=gone.events)
        name = database.name
    finally:
        database.close()
    if target.json:
        print_json({"database": name, "runs": gone.runs, "events": gone.events, "deleted": not dry_run})
    else:
        say(f"{gone.runs} runs and {gone.events} events {'could be' if dry_run else 'are'} deleted")


async def _record(database: Database, what: str, by: str | None, why: str, **details: Any) -> None:
    """Here there is no client: the command works without a server."""
    from holdfast.store.audit_log import Action, write_actions

    action = Action(who=whoever(by), what=what, subject="database", why=why, details=details or None)
    await asyncio.to_thread(write_actions, database, [action])


async def _open(target: Target, *, make: bool = False, current: bool = False) -> Database:
    """The database, as it is; with `current`, brought up to date. Only `make` makes one that is not there."""
    settings = load(target.home)
    if not settings.database_url:
        target.announce()
    return await asyncio.to_thread(_opened, settings, make=make, current=current)


def _opened(settings: Settings, *, make: bool, current: bool) -> Database:
    try:
        from holdfast.store.database import FILE_NAME, Database
    except ModuleNotFoundError as error:
        if error.name != "sqlalchemy":
            raise
        raise InvalidConfiguration("the history needs a database: pip install 'holdfast[store]'") from error
    file = settings.home / FILE_NAME
    if not settings.database_url and not make and not file.exists():
        raise NotFound(f"there is no history yet: no {file}")
    return Database.open(settings.database_url or file, upgrade=current)
