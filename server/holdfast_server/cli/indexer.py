"""`holdfast indexer`: keep the history of runs up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast import InvalidConfiguration
from holdfast.client.actions import recorded
from holdfast.settings import load
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, note, print_json, say, span
from holdfast_server.cli.record import By
from holdfast_server.cli.target import Target

if TYPE_CHECKING:
    from holdfast.indexer import Counts, Indexer
    from holdfast.indexer.firing import Firing
    from holdfast.store.database import Database

_REPORT_SECONDS = 10.0


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "indexer", serves=True)(indexer)


async def indexer(
    target: Target,
    once: Annotated[
        bool, typer.Option("--once", help="Read what is new, start what triggers start for it, then end.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Read again and replace all that Temporal still has, then end."),
    ] = False,
    reason: Annotated[str, typer.Option(help="With --rebuild: why, for the record.")] = "",
    by: By = None,
) -> None:
    """Keep the history of runs up to date with Temporal, until SIGTERM or Ctrl-C.

    Any number of indexers may work on one database: they share the runs.
    """
    # Slow to import, and most commands need no database.
    try:
        from holdfast.indexer import Indexer
        from holdfast.indexer.firing import Firing
        from holdfast.store.database import Database
    except ModuleNotFoundError as error:
        if error.name != "sqlalchemy":
            raise
        raise InvalidConfiguration("the indexer needs a database: pip install 'holdfast[store]'") from error

    async with target.connect(start=False) as client:
        database = await asyncio.to_thread(Database.of, load(client.home))
        try:
            made = Indexer(client.temporal, database, retention=load(client.home).retention, home=client.home)
            note(f"database {database.name}", style="dim")
            if rebuild:
                async with recorded(client, "rebuild", subject="database", why=reason, by=by):
                    await _once(made, made.rebuild, database, as_json=target.json)
            elif once:
                firing = Firing(client.temporal, database)
                await _once(made, made.catch_up, database, firing=firing, as_json=target.json)
            else:
                await _serve(made, as_json=target.json)
        finally:
            database.close()


async def _once(
    made: Indexer,
    read: Callable[..., Awaitable[None]],
    database: Database,
    *,
    firing: Firing | None = None,
    as_json: bool,
) -> None:
    from holdfast.indexer import lag_of

    with busy("reading histories") as show:

        def progress(counts: Counts) -> None:
            show(f"reading histories: {counts.stored} stored")

        await read(show=progress)
        fired = await firing.step() if firing else 0
    lag = await asyncio.to_thread(lag_of, database)
    if as_json:
        seconds = None if lag is None else lag.total_seconds()
        print_json({**made.counts.to_dict(), "fired": fired, "lag_seconds": seconds})
    else:
        say(f"{_told(made.counts)}, {f'{fired} started by triggers, ' if fired else ''}up to date")


async def _serve(made: Indexer, *, as_json: bool) -> None:
    running = asyncio.create_task(made.run())
    try:
        last = ""
        while True:
            done, _ = await asyncio.wait([running], timeout=_REPORT_SECONDS)
            if done:
                return running.result()
            lag = made.lag
            if as_json:
                seconds = None if lag is None else lag.total_seconds()
                facts = {**made.counts.to_dict(), "lag_seconds": seconds, "problem": made.problem}
                print_json(facts, indent=None)
                continue
            line = made.problem or _told(made.counts)
            if line != last:
                note(f"{line}, {span(lag) or 'unknown'} behind", style="red" if made.problem else "dim")
            last = line
    finally:
        running.cancel()
        await asyncio.wait([running])


def _told(counts: Counts) -> str:
    parts = [f"{counts.stored} stored"]
    parts += [f"{counts.gaps} without a history"] if counts.gaps else []
    parts += [f"{counts.unreadable} unreadable"] if counts.unreadable else []
    return ", ".join(parts)
