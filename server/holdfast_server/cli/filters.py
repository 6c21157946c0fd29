"""The options that choose runs, the same for every command that takes a `RunFilter`."""

from __future__ import annotations

import functools
import inspect
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from holdfast.run_filter import RunFilter
from holdfast_server.cli.command import Body
from holdfast_server.cli.duration import duration

_PANEL = "Which runs"


def moment(text: str | datetime) -> datetime:
    """A time: how long ago (`7d`, `90m`), or a date or time in ISO 8601, in this machine's zone unless it names one.

    Raises:
        typer.BadParameter: It is neither.
    """
    if isinstance(text, datetime):
        return text
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - duration(text)
    except (typer.BadParameter, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is no time: write how long ago, as 7d or 12h, or when, as 2026-11-01 or 2026-11-01T12:00"
        ) from error


def _many(help: str) -> Any:
    return Annotated[list[str], typer.Option(help=f"{help} Repeatable.", rich_help_panel=_PANEL)]


def _one(help: str, *names: str) -> Any:
    return Annotated[str | None, typer.Option(*names, help=help, rich_help_panel=_PANEL)]


def _when(help: str) -> Any:
    option = typer.Option(help=help, parser=moment, metavar="AGO|TIME", rich_help_panel=_PANEL)
    return Annotated[datetime | None, option]


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "since": (_when("Only runs that started since: 7d, 12h, 2026-11-01."), None),
    "until": (_when("Only runs that started before: 1d, 2026-11-08."), None),
    "workflow": (_many("Only runs of this workflow or DAG."), []),
    "version": (_many("Only runs of this version."), []),
    "state": (_many("Only runs in this state, such as failed or waiting; --open for all that are open."), []),
    "open": (
        Annotated[
            bool | None,
            typer.Option("--open/--closed", help="Only open, closed runs.", rich_help_panel=_PANEL),
        ],
        None,
    ),
    "queue": (_many("Only runs on this queue."), []),
    "error": (_one("Only runs that failed with this type of error.", "--error", "--error-type"), None),
    "fingerprint": (_one("Only runs that failed with this error, by its fingerprint."), None),
    "text": (_one("Only runs with this in their id, error, input, result or search attributes."), None),
}


def with_filter(body: Body) -> Body:
    """Give a command the options that choose runs: its parameter `chosen` becomes them.

    A range that begins somewhere ends now, so that what it was asked for does not grow meanwhile.
    """
    signature = inspect.signature(body, eval_str=True)

    @functools.wraps(body)
    async def invoke(**given: Any) -> int | None:
        return await body(**_take(given), **given)

    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in _OPTIONS.items()
    ]
    own = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in signature.parameters.values()
        if p.name != "chosen"
    ]
    invoke.__signature__ = signature.replace(parameters=own + options)  # type: ignore[attr-defined]
    return invoke


def _take(given: dict[str, Any]) -> dict[str, RunFilter]:
    options = {name: given.pop(name) for name in _OPTIONS}
    chosen = RunFilter(
        started_from=options["since"],
        started_to=options["until"] or (datetime.now(UTC) if options["since"] else None),
        workflows=options["workflow"],
        versions=options["version"],
        states=options["state"],
        open=options["open"],
        queues=options["queue"],
        error_type=options["error"],
        fingerprint=options["fingerprint"],
        text=options["text"],
    )
    return {"chosen": chosen}
