"""A run for people to read."""

from __future__ import annotations

from urllib.parse import quote

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.client.description import RunDescription, StepDescription, WaitDescription
from holdfast.states import RunState, StepState
from holdfast_server.cli.output import cell, clean, span, table, when

STYLES: dict[str, str] = {
    RunState.COMPLETED: "green",
    RunState.FAILED: "red",
    RunState.TIMED_OUT: "red",
    RunState.TERMINATED: "red",
    RunState.STUCK: "bold red",
    RunState.CANCELLED: "yellow",
    RunState.COMPENSATING: "yellow",
    RunState.PAUSED: "yellow",
    RunState.WAITING: "cyan",
    RunState.RUNNING: "blue",
    StepState.RETRYING: "yellow",
    StepState.COMPENSATED: "yellow",
}


def state(value: RunState | StepState) -> Text:
    """A state in its colour."""
    return Text(value.value, style=STYLES.get(value.value, ""))


def description(run: RunDescription, ui_url: str | None) -> RenderableType:
    """Everything about a run on one screen.

    Args:
        run: The run.
        ui_url: Temporal's Web UI, where known.
    """
    parts: list[RenderableType] = [_head(run, ui_url)]
    if run.steps:
        parts += [Text(), steps(run.steps)]
    if run.waits:
        parts += [Text(), _waits(run.waits)]
    if run.local_steps_note:
        parts += [Text(), Text(clean(run.local_steps_note), style="dim")]
    return Group(*parts)


def link(run: RunDescription, ui_url: str) -> str:
    """The run's page in Temporal's Web UI."""
    return f"{ui_url}/namespaces/default/workflows/{quote(run.id, safe='')}/{run.execution_id}"


def _head(run: RunDescription, ui_url: str | None) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")

    def line(name: str, value: object, style: str = "") -> None:
        if value not in (None, ""):
            grid.add_row(name, value if isinstance(value, Text) else cell(value, style=style))

    line("run", run.id)
    line("workflow", run.workflow)
    line("state", state(run.state))
    line("stuck", run.stuck, "bold red")
    line("waits for", run.waiting_for if run.stuck is None else None)
    if run.state is RunState.PAUSED:
        line("paused by", run.paused_by)
        line("reason", run.pause_reason)
    line("error", run.error, "red")
    line("started", when(run.started))
    line("took" if run.state.closed else "for", span(run.duration))
    line("queue", run.queue)
    line("build", run.build_id)
    line("parent", run.parent)
    line("trigger", run.trigger)
    line("begun as", run.origin)
    line("children", ", ".join(run.children))
    line("input", ", ".join(preview.text for preview in run.input))
    line("result", run.result.text if run.result else None)
    line("to undo", ", ".join(_undo(run)))
    line("not reached", ", ".join(run.not_reached) + " (done before)" if run.not_reached else None, "yellow")
    line("Temporal", link(run, ui_url) if ui_url else None)
    return grid


def _undo(run: RunDescription) -> list[str]:
    names = {step.activity_id: step.name for step in run.steps}
    return [names.get(activity_id, activity_id) for activity_id in run.pending_compensations]


def steps(found: list[StepDescription]) -> Table:
    """The steps as a table."""
    names = {step.activity_id: step.name for step in found}
    repeated = {step.name for step in found if step.ordinal > 1}
    return table(
        ["step", "state", "attempt", "took", "worker", "note"],
        [
            [
                f"{step.name} #{step.ordinal}" if step.name in repeated else step.name,
                state(step.state),
                str(step.attempt),
                span(step.duration),
                step.worker or "",
                cell(_step_note(step, names), style="red" if step.state is StepState.FAILED else ""),
            ]
            for step in found
        ],
    )


def _step_note(step: StepDescription, names: dict[str, str]) -> str:
    notes: list[str] = []
    if step.compensates and step.summary is None:
        notes.append(f"undoes {names.get(step.compensates, step.compensates)}")
    if step.reused_from:
        notes.append("reused from an earlier execution")
    if step.rerun:
        notes.append(f"rerun because {step.rerun}")
    if step.local:
        notes.append("local")
    if step.summary:
        notes.append(step.summary)
    if step.error:
        notes.append(str(step.error))
    elif step.last_failure:
        notes.append(f"before: {step.last_failure}")
    if step.next_attempt_at:
        notes.append(f"again at {when(step.next_attempt_at)}")
    return "; ".join(notes)


def _waits(found: list[WaitDescription]) -> Table:
    return table(
        ["open wait", "kind", "since", "until", "prompt"],
        [[wait.name, wait.kind, when(wait.since), when(wait.deadline), wait.prompt or ""] for wait in found],
    )
