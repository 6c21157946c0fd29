"""`holdfast runs retry` and `fork`, and what is done to single steps of an open run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.options import UNSET
from holdfast_server.cli.command import command
from holdfast_server.cli.output import busy, note, print_json, say
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import read_json

if TYPE_CHECKING:
    from holdfast import Run
    from holdfast.client.again import RetryPlan

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]
StepName = Annotated[str, typer.Argument(metavar="STEP[#N]", help="A step that is open.", show_default=False)]
Preview = Annotated[bool, typer.Option("--preview", help="Only say what is reused and what runs again.")]
By = Annotated[str, typer.Option(help="Who does it, for the record. Default: you, as user@host.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]


def add(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "retry")(retry)
    command(app, "fork")(fork)
    command(app, "retry-now")(retry_now)
    command(app, "pause-step")(pause_step)
    command(app, "resume-step")(resume_step)


async def retry(
    run: RunId, target: Target, preview: Preview = False, reason: Reason = "", by: By = ""
) -> None:
    """Let a run that has ended without a result go on: what was done is not done again."""
    async with target.connect(start=False) as client:
        with busy("reading what the run has done"):
            if preview:
                _print(await client.get(run).preview_retry(), target)
                return
            await client.get(run).retry(by=by, reason=reason)
    _done(run, "goes on", target)


async def fork(
    run: RunId,
    target: Target,
    from_step: Annotated[
        str | None,
        typer.Option(metavar="NAME[#N]", help="Give only what was begun before this step; of a DAG, a node."),
    ] = None,
    input: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE|-", help="Another input; a list of several arguments.")
    ] = None,
    id: Annotated[str | None, typer.Option(help="The new run's id.")] = None,
    preview: Preview = False,
    reason: Reason = "",
    by: By = "",
) -> None:
    """Start another run that is given what a run has done so far; that one is left as it is."""
    given = read_json(input, option="--input") if input is not None else UNSET
    async with target.connect(start=False) as client:
        with busy("reading what the run has done"):
            if preview:
                _print(await client.get(run).preview_fork(from_step=from_step), target)
                return
            origin: Run[Any] = client.get(run)
            forked = await origin.fork(from_step=from_step, input=given, id=id, by=by, reason=reason)
    if target.json:
        print_json({"id": forked.id, "forked_from": run})
    else:
        say(forked.id)


async def retry_now(run: RunId, step: StepName, target: Target, reason: Reason = "", by: By = "") -> None:
    """Try a step at once that waits for its next attempt."""
    async with target.connect(start=False) as client:
        await client.get(run).retry_now(step, by=by, reason=reason)
    _done(run, f"{step} is tried now", target)


async def pause_step(run: RunId, step: StepName, target: Target, reason: Reason = "", by: By = "") -> None:
    """Hold a step of a run: an attempt that is under way goes on, and no other one begins."""
    async with target.connect(start=False) as client:
        await client.get(run).pause_step(step, by=by, reason=reason)
    _done(run, f"{step} is held", target)


async def resume_step(run: RunId, step: StepName, target: Target, reason: Reason = "", by: By = "") -> None:
    """Let a step go on that was held."""
    async with target.connect(start=False) as client:
        await client.get(run).resume_step(step, by=by, reason=reason)
    _done(run, f"{step} goes on", target)


def _done(run: str, what: str, target: Target) -> None:
    if target.json:
        print_json({"id": run, "done": what})
    else:
        say(f"{run}: {what}")


def _print(plan: RetryPlan, target: Target) -> None:
    if target.json:
        print_json(plan.to_dict())
        return
    parts = {
        "reused": plan.reused,
        "runs again": plan.runs_again,
        "was compensated, runs again": plan.compensated,
        "completed earlier, not reached by the latest execution": plan.not_reached,
        "messages given at once": plan.messages,
    }
    for title, names in parts.items():
        for line in [f"{title}:", *(f"  {name}" for name in names)] if names else ():
            say(line)
    if not any(parts.values()):
        note("nothing was done before: all runs again")
