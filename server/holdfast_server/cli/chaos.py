"""`holdfast chaos`: faults on purpose, while workers run."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, cast

import typer
from rich.text import Text

from holdfast.chaos.control import ChaosStats, Control
from holdfast.chaos.faults import Faults
from holdfast.chaos.plan import FaultKind
from holdfast.chaos.profiles import PROFILES, Profile, profile_of
from holdfast.chaos.proxy import Proxy
from holdfast.errors import InvalidInput
from holdfast_server.cli.command import command
from holdfast_server.cli.duration import duration as in_words
from holdfast_server.cli.output import cell, note, print_json, say, stdout, table, when
from holdfast_server.cli.record import By, Reason
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import read_json

app = typer.Typer(
    name="chaos",
    help="Faults on purpose, while workers run. Only for servers of this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_ORDERS: Final = 10

ProfileArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROFILE",
        help=f"{', '.join(PROFILES)}, or one of your own as JSON or @FILE.",
        show_default=False,
    ),
]


@command(app, "start")
async def start(
    target: Target,
    chosen: ProfileArgument = "gentle",
    seed: Annotated[
        int | None, typer.Option(help="The same one gives the same faults. Default: one that is drawn.")
    ] = None,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Let all workers of the home inject faults from now on, and count anew."""
    async with target.connect(start=False) as client:
        stats = await client.chaos.start(chosen_profile(chosen), seed=seed, by=by, reason=reason)
    _show(stats, as_json=target.json)


@command(app, "stop")
async def stop(target: Target, reason: Reason = "", by: By = None) -> None:
    """Let no more faults happen."""
    async with target.connect(start=False) as client:
        _show(await client.chaos.stop(by=by, reason=reason), as_json=target.json)


@command(app, "profile")
async def profile(chosen: ProfileArgument, target: Target, reason: Reason = "", by: By = None) -> None:
    """Change how often which fault comes, of chaos that runs; the seed stays."""
    async with target.connect(start=False) as client:
        stats = await client.chaos.profile(chosen_profile(chosen), by=by, reason=reason)
    _show(stats, as_json=target.json)


@command(app, "inject")
async def inject(
    kind: Annotated[FaultKind, typer.Argument(help="What happens.", show_default=False)],
    target: Target,
    step: Annotated[str | None, typer.Option(help="Only to this step.")] = None,
    run: Annotated[str | None, typer.Option(help="Only to the run of this id.")] = None,
    after: Annotated[
        bool,
        typer.Option("--after", help="After the step's work: its effect has happened, its result is lost."),
    ] = False,
    duration: Annotated[
        timedelta | None,
        typer.Option(parser=in_words, metavar="DURATION", help="Of latency and of faults of the network."),
    ] = None,
    reason: Reason = "",
    by: By = None,
) -> None:
    """Let one fault happen, once, to the next attempt that it fits. Those of the network take a proxy."""
    async with target.connect(start=False) as client:
        order = await client.chaos.inject(
            kind, step=step, run=run, after=after, duration=duration, by=by, reason=reason
        )
    if target.json:
        print_json({"order": order})
    else:
        say(f"asked for: {kind}, order {order}")


@command(app, "status")
async def status(target: Target) -> None:
    """What chaos does, how many faults happened, and how many of their steps completed later."""
    async with target.connect(start=False) as client:
        _show(await client.chaos.stats(), as_json=target.json)


@command(app, "proxy", serves=True)
async def proxy(
    target: Target,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0 takes a free one.")] = 0,
) -> None:
    """Serve a proxy in front of the server, for workers with `--via`: faults of the network happen there."""
    async with target.connect(start=True) as client, Proxy(client.address, port=port) as served:
        if target.json:
            print_json({"address": served.address}, indent=None)
        else:
            say(f"proxy {served.address}")
            note(f"holdfast worker APP --via {served.address}", style="dim")
        await served.serve(Faults(Control(client.chaos.folder)))


def chosen_profile(text: str) -> Profile:
    """What stands for a profile on the command line.

    Raises:
        InvalidInput, InvalidConfiguration: It stands for none.
    """
    if not text.startswith(("{", "[", "@")):
        return profile_of(text)
    values = read_json(text, option="the profile")
    if not isinstance(values, dict):
        raise InvalidInput('a profile is an object, such as {"crash": 0.1, "max_events": 3}')
    return Profile.from_dict(cast("dict[str, Any]", values))


def _show(stats: ChaosStats, *, as_json: bool) -> None:
    if as_json:
        print_json(stats.to_dict())
        return
    named = f"profile {(stats.profile or {}).get('name')}, seed {stats.seed}"
    say(f"runs: {named}" if stats.running else "does not run")
    if not stats.running:
        note("a worker that was started with --chaos since then injects its own faults", style="dim")
    if stats.injected:
        rows: list[list[Text | str]] = [
            [kind, str(count), str(stats.recovered.get(kind, 0))] for kind, count in stats.injected.items()
        ]
        stdout().print(table(["fault", "happened", "recovered"], rows))
    if stats.latest:
        rows = [
            [
                when(one.at),
                one.kind.value,
                cell(one.run_id),
                cell(one.step),
                str(one.attempt or ""),
                str(one.pid),
            ]
            for one in stats.latest[:5]
        ]
        stdout().print(table(["at", "fault", "run", "step", "attempt", "process"], rows))
    if stats.pending:
        waiting = ", ".join(stats.pending[:_ORDERS]) + (", ..." if len(stats.pending) > _ORDERS else "")
        note(f"single faults that wait for an attempt that they fit: {waiting}", style="dim")
