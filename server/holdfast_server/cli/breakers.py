"""`holdfast breakers`: services that fail, and are not called for a while."""

from __future__ import annotations

import typer
from rich.text import Text

from holdfast.client.breakers import BreakerInfo
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, cell, note, print_json, stdout, table, when
from holdfast_server.cli.target import Target

app = typer.Typer(
    help="Services that fail, and are not called for a while.", no_args_is_help=True, rich_markup_mode=None
)

_STYLES = {"open": "bold red", "half-open": "yellow", "closed": "green"}


@command(app, "list")
async def list_(target: Target) -> None:
    """The circuit breakers that have met a failure lately. One that is not listed is closed."""
    async with target.connect(start=False) as client:
        with busy("asking for breakers"):
            found = await client.breakers.list()
    if target.json:
        print_json([breaker.to_dict() for breaker in found])
    elif found:
        columns = ["breaker", "state", "failures", "open until", "opened"]
        stdout().print(table(columns, [_row(breaker) for breaker in found]))
    else:
        note("no breaker has met a failure lately: all are closed")


def _row(breaker: BreakerInfo) -> list[Text | str]:
    return [
        cell(breaker.key),
        cell(breaker.state, style=_STYLES[breaker.state]),
        str(breaker.failures),
        when(breaker.until) if breaker.until else "",
        str(breaker.opened),
    ]
