"""How the demo tells what happened. Every line comes from a run's description, the ledger, or a written file."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from holdfast import Client, StepState
from holdfast.client.description import RunDescription, StepDescription, WaitDescription
from holdfast_server.demo.evidence import StepEvidence
from holdfast_server.demo.ledger import Entry

_COLOURS = {
    StepState.COMPLETED: "green",
    StepState.COMPENSATED: "yellow",
    StepState.FAILED: "red",
}


class Report:
    """Prints to the terminal; the chapters are numbered as they come."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._chapter = 0

    @contextmanager
    def progress(self, what: str) -> Generator[Callable[[RunDescription], None], None, None]:
        """Show that something goes on, for as long as the block lasts; on a terminal only."""
        with self._console.status(f"[dim]{what}[/]") as status:

            def say(run: RunDescription) -> None:
                done = sum(step.state.closed for step in run.steps)
                waits = f": {run.waiting_for}" if run.waiting_for else ""
                status.update(f"[dim]{done} of {len(run.steps)} steps have ended{waits}[/]")

            yield say

    def place(self, client: Client) -> None:
        """Where everything is."""
        self._console.print("[bold]Holdfast demo[/]")
        self._console.print(f"   [dim]home[/]    {client.home}", soft_wrap=True)
        self._console.print(f"   [dim]server[/]  {client.address}")

    def chapter(self, title: str, run_id: str) -> None:
        """Begin a flow."""
        self._chapter += 1
        self._console.print(f"\n[bold]{self._chapter}  {title}[/]")
        self._console.print(f"   [dim]run[/]     {run_id}")

    def killed(self, cut_off: Sequence[Entry], run: RunDescription, exit_code: int | None) -> None:
        """What the kill hit."""
        by = (
            signal.Signals(-exit_code).name
            if exit_code is not None and exit_code < 0
            else f"exit code {exit_code}"
        )
        done = sum(step.state is StepState.COMPLETED for step in run.steps)
        what = " and ".join(f"{entry.step} {entry.label}".strip() for entry in cut_off)
        self._console.print(
            f"   worker {cut_off[0].pid} was [red]killed[/] ({by}) while it ran {what}; "
            f"{done} of {len(run.steps)} steps were completed by then",
            soft_wrap=True,
        )

    def replaced(self, pid: int, run: RunDescription) -> None:
        """Who goes on, and what the run waits for."""
        self._console.print(f"   worker {pid} was started; the run waits: {run.waiting_for}", soft_wrap=True)

    def began_again(self, steps: Sequence[StepEvidence], killed_at: float) -> None:
        """How long the steps that were cut off had to wait."""
        for step in steps:
            for start in (e for e in step.entries if e.event == "start" and e.at > killed_at and step.lost):
                self._console.print(
                    f"   {step.title} began again in worker {start.pid}, {start.at - killed_at:.1f} s after the kill"
                )

    def steps(self, steps: Sequence[StepEvidence]) -> None:
        """Each step: its state and attempts by the run's history, its processes by the ledger."""
        table = _table("step", "state", "attempts", "seconds", "worker")
        for step in steps:
            table.add_row(step.title, *_facts(step.described), ", ".join(step.places))
        self._console.print(Padding(table, (0, 0, 0, 3)))

    def once(self, run: RunDescription, steps: Sequence[StepEvidence]) -> None:
        """That every completed step was done once."""
        done = [step for step in steps if step.done]
        once = sum(step.ended_once for step in done)
        lost = sum(len(step.lost) for step in steps)
        took = f" in {run.duration.total_seconds():.0f} s" if run.duration else ""
        self._console.print(
            f"   [green]{run.state.value}[/]{took}: {once} of {len(done)} completed steps were done once; "
            f"{lost} attempts died with their worker and were made again",
            soft_wrap=True,
        )

    def result(self, text: str, plot: Path) -> None:
        """What came out."""
        for line in text.splitlines():
            self._console.print(f"   {line}")
        self._console.print(f"   [dim]plot[/]    {plot} ({plot.stat().st_size} bytes)", soft_wrap=True)

    def undone(self, run: RunDescription, undone: Sequence[StepEvidence]) -> None:
        """Why a run failed, and what was undone."""
        names = " and ".join(step.title for step in undone)
        self._console.print(f"   [red]{run.state.value}[/]: {run.error}", soft_wrap=True)
        self._console.print(f"   undone: {names}")

    def approved(self, asked: WaitDescription, delivery: str) -> None:
        """What a person was asked, and that the demo has said yes in their place."""
        self._console.print(f"   the run asks: {escape(asked.prompt or '')}", soft_wrap=True)
        self._console.print(f"   the demo approves {asked.name}: {delivery}")

    def nodes(self, run: RunDescription) -> None:
        """Each step of a DAG's run, by the run's history alone."""
        table = _table("node", "step", "state", "attempts", "seconds", "worker")
        for step in run.steps:
            worker = "in the run" if step.local else (step.worker or "").partition("@")[0]
            table.add_row(step.activity_id, step.name, *_facts(step), worker)
        self._console.print(Padding(table, (0, 0, 0, 3)))

    def fetched(self, run: RunDescription, asked_count: int) -> None:
        """How much was fetched, and what stood in for a model."""
        pages = [step for step in run.steps if step.name == "executor:http"]
        size = sum(page.result.size_bytes for page in pages if page.result)
        self._console.print(
            f"   [green]{run.state.value}[/]: {len(pages)} pages with {size} bytes were fetched, each by a step; "
            f"FakeLLM, which is no model, was asked {asked_count} time{'s' if asked_count != 1 else ''}",
            soft_wrap=True,
        )

    def written(self, file: Path, text: str, diagram: str) -> None:
        """The file that came out, up to its table, and the run's picture."""
        self._console.print(f"   [dim]file[/]    {file} ({file.stat().st_size} bytes)", soft_wrap=True)
        for line in [*text.partition("\n|")[0].splitlines(), "", *diagram.splitlines()]:
            self._console.print(f"   {escape(line)}".rstrip(), soft_wrap=True)

    def failed(self, reason: str) -> None:
        """Why the demo ends with exit code 1."""
        self._console.print(f"\n[red]The demo failed[/]: {reason}", soft_wrap=True)

    def goodbye(self, home: Path | None) -> None:
        """How to look at the runs; the home only where it is not found without being named."""
        command = Path(sys.executable).parent / "holdfast"
        here = Path.cwd()
        shown = command.relative_to(here) if command.is_relative_to(here) else "holdfast"
        named = f" --home {home}" if home else ""
        self._console.print(f"\nLook at these runs: {shown} dev{named}", soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(
            heading, justify="right" if heading in ("attempts", "seconds") else "left", no_wrap=True
        )
    return table


def _facts(step: StepDescription) -> tuple[str, str, str]:
    """State, attempts and seconds."""
    seconds = f"{step.duration.total_seconds():.1f}" if step.duration else ""
    return f"[{_COLOURS.get(step.state, 'default')}]{step.state.value}[/]", str(step.attempt), seconds
