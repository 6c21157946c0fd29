"""`holdfast runs export`: a run as a page that plays it, as a test, or as its history."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from holdfast import Client, InvalidInput, NotFound
from holdfast.settings import secrets_here
from holdfast_server.apps import load_app
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, note, print_json
from holdfast_server.cli.target import Target


def add(runs: typer.Typer) -> None:
    """Register the command."""
    command(runs, "export", imports=True)(export)


async def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)],
    target: Target,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One page that plays the run, for any browser.")
    ] = None,
    pytest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A test that runs it again with its recorded step results."),
    ] = None,
    app: Annotated[
        str | None, typer.Option(metavar="APP", help="For --pytest: the file or module with its workflow.")
    ] = None,
    history: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its history, for replay-check --from.")
    ] = None,
) -> None:
    """Write a run to files; with --json, its history goes to stdout."""
    if not (html or pytest or history or target.json):
        raise InvalidInput(
            "say what to write: --html FILE, --pytest FILE, --history FILE, or --json for its history"
        )
    if (pytest is None) != (app is None):
        raise InvalidInput(
            "--pytest FILE and --app APP go together: the test imports the workflow from there"
        )
    async with target.connect(start=False) as client:
        with busy("reading the run"):
            if html is not None:
                await _write(html, "--html", await _page(client, run))
            if pytest is not None and app is not None:
                await _write(pytest, "--pytest", await _test(client, run, app))
            if history is not None:
                from holdfast.testing import save_history

                await save_history(client.get(run), history)
                note(f"written to {history}", style="dim")
            if target.json:
                from holdfast.testing.replay import history_json

                print_json(history_json(await client.get(run).history()))


async def _page(client: Client, run: str) -> str:
    from holdfast.client.playback import read_playback
    from holdfast.client.player.hiding import Hiding
    from holdfast.client.player.page import make_page

    playback = await read_playback(client.temporal, run)
    return await asyncio.to_thread(make_page, playback, Hiding(secrets_here()))


async def _test(client: Client, run: str, app: str) -> str:
    from holdfast.testing.recorded_file import recorded_test

    loaded = load_app(app)
    name = (await client.get(run).describe()).workflow
    if name not in loaded.workflows:
        known = ", ".join(sorted(loaded.workflows)) or "none"
        raise NotFound(f"run {run!r} is one of workflow {name!r}; {app} has {known}")
    workflow = loaded.workflows[name]
    holding = (
        module for module in loaded.modules if any(value is workflow for value in vars(module).values())
    )
    module = next(holding, None)
    if module is None:
        raise NotFound(
            f"no module of {app} has workflow {name!r} as a variable, by which a test could import it"
        )
    return await recorded_test(client, run, workflow, module.__name__)


async def _write(path: Path, option: str, text: str) -> None:
    try:
        # A surrogate without its other half, which a history may hold, is no UTF-8.
        await asyncio.to_thread(path.write_bytes, text.encode("utf-8", "replace"))
    except OSError as error:
        raise InvalidInput(f"{option} {str(path)!r}: {error.strerror}") from error
    note(f"written to {path}", style="dim")
