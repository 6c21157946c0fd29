"""How `holdfast demo --chaos` is shown: a table while it runs, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from holdfast import Client
from holdfast_server.demo.chaos import ChaosDemo, Progress, Shown

_LINE_SECONDS: Final = 10.0
_DOUBTS: Final = 10


class ChaosReport:
    """Prints to a terminal; elsewhere a line now and then.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._told = time.monotonic()

    def place(self, client: Client, demo: ChaosDemo) -> None:
        """Where everything is, and how to see the same faults again."""
        progress = demo.progress
        say = self._console.print
        say("[bold]Holdfast demo, with chaos[/]")
        say(f"   [dim]home[/]     {escape(str(client.home))}", soft_wrap=True)
        say(f"   [dim]runs[/]     {progress.planned.total()}")
        say(f"   [dim]faults[/]   {escape(progress.profile)}, seed {progress.seed}")

    @contextmanager
    def showing(self, progress: Progress) -> Generator[None]:
        """Show what happens, for as long as the block lasts."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            _picture(progress), console=self._console, transient=True, auto_refresh=False
        ) as self._live:
            yield
        self._live = None

    def show(self, progress: Progress) -> None:
        """Something may have changed."""
        if self._live is not None:
            self._live.update(_picture(progress), refresh=True)
        elif time.monotonic() - self._told >= _LINE_SECONDS:
            self._told = time.monotonic()
            self._console.print(Text(_line(progress)), soft_wrap=True)

    def failed(self, reason: str) -> None:
        """Why there is no verdict."""
        self._console.print(Text(f"The demo failed: {reason}", style="red"), soft_wrap=True)

    def end(self, client: Client, progress: Progress, shown: Shown) -> None:
        """What came of it, and the verdict."""
        say, verdict = self._console.print, shown.verdict
        say(_picture(progress, final=True))
        share = 100 * shown.success_count / max(progress.planned.total(), 1)
        say(f"\n   success      {share:.1f} % of {progress.planned.total()} runs gave what they should")
        say(f"   retries      {verdict.retry_count} attempts beyond the first, of {verdict.step_count} steps")
        say(f"   compensated  {verdict.compensation_count} steps were undone")
        happened, recovered = sum(shown.chaos.injected.values()), sum(shown.chaos.recovered.values())
        say(f"   recovered    {recovered} of {happened} faults: what they hit was completed later")
        say(
            f"   ledger       {verdict.execution_count} executions, {verdict.cut_off_count} of them died with their "
            f"process; {shown.killed_count} workers were killed",
            soft_wrap=True,
        )
        if shown.proven:
            say(
                f"   [green]verdict[/]      all {verdict.run_count} runs, children included, have ended; nothing "
                "completed was done again, nothing is missing",
                soft_wrap=True,
            )
            say(f"\nLook at these runs: holdfast runs list --home {escape(str(client.home))}", soft_wrap=True)
            return
        say(f"   [red]verdict[/]      {len(verdict.doubts)} things speak against it:")
        for doubt in verdict.doubts[:_DOUBTS]:
            self._console.print(Text(f"     {doubt}"), soft_wrap=True)


def _picture(progress: Progress, *, final: bool = False) -> Group:
    table = Table(box=None, pad_edge=False, header_style="dim")
    states = ("completed", "undone", "failed")
    for heading in ("   shape", "runs", "started", *states):
        table.add_column(heading, justify="left" if "shape" in heading else "right")
    for shape, planned in progress.planned.items():
        ended = [str(progress.ended[shape, state] or "") for state in states]
        table.add_row(f"   {shape}", str(planned), str(progress.started[shape]), *ended)
    faults = _faults(progress)
    lines = [Text(f"   faults happened / recovered: {faults or 'none yet'}")]
    if not final:
        workers = ", ".join(map(str, progress.pids)) or "none"
        lines.append(Text(f"   workers {workers}; {progress.killed_count} were killed so far", style="dim"))
    return Group(table, *lines)


def _faults(progress: Progress) -> str:
    chaos = progress.chaos
    if chaos is None:
        return ""
    return ", ".join(
        f"{kind} {count}/{chaos.recovered.get(kind, 0)}" for kind, count in chaos.injected.items()
    )


def _line(progress: Progress) -> str:
    ended = progress.ended.total()
    return (
        f"   {ended} of {progress.planned.total()} runs have ended; {progress.killed_count} workers were killed; "
        f"faults: {_faults(progress) or 'none yet'}"
    )
