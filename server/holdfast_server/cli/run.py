"""`holdfast run`: start a run, and see it through."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import typer
from pydantic import TypeAdapter

from holdfast import Client, Dag, InvalidInput, Run, RunFailed
from holdfast.client.queues import pollers
from holdfast.errors import TryAgain
from holdfast.spec.model import DagSpec
from holdfast_server.apps import App, dags_of, load_app, split
from holdfast_server.cli.command import command
from holdfast_server.cli.duration import duration
from holdfast_server.cli.exits import ExitCode, exit_code
from holdfast_server.cli.output import busy, note, print_json, say
from holdfast_server.cli.target import Target
from holdfast_server.cli.values import arguments, read_json
from holdfast_server.documents import is_document, one_spec
from holdfast_server.worker_host import WorkerOptions, make_worker

_REFRESH_SECONDS = 1.0


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "run", imports=True)(run)


async def run(
    app: Annotated[
        str,
        typer.Argument(
            metavar="APP:WORKFLOW|FILE",
            help="A file or module and a workflow or Dag in it, or a DAG document in JSON or YAML.",
        ),
    ],
    target: Target,
    input: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            metavar="JSON|@FILE|-",
            help="Its arguments: one value, a list of all, or an object by name.",
        ),
    ] = None,
    id: Annotated[
        str | None, typer.Option(help="The run's id. Default: the workflow's name and a random part.")
    ] = None,
    if_exists: Annotated[
        Literal["raise", "return", "restart"], typer.Option(help="What to do when the id is known.")
    ] = "raise",
    queue: Annotated[
        str | None, typer.Option(help="The queue whose workers run it. Default: the workflow's.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the end and print the result.")
    ] = True,
    worker: Annotated[
        bool | None,
        typer.Option(
            "--worker/--no-worker",
            help="Serve the app in this process meanwhile. Default: if no worker polls the queue.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="DURATION", help="The run's time limit.")
    ] = None,
) -> int:
    """Start a run, wait for it, and print its result as JSON.

    Ctrl-C ends the waiting, not the run: it goes on when a worker serves it.
    """
    given = read_json(input, option="--input") if input is not None else None
    subject = _subject(app, given, has_input=input is not None)
    if worker and subject.app is None:
        raise InvalidInput(f"{app} is a document without code: serve its steps with `holdfast worker APP`")
    async with target.connect(start=True) as client:
        serves = (
            worker
            if worker is not None
            else wait and subject.app is not None and not await _polled(client, queue or subject.queue)
        )
        async with AsyncExitStack() as stack:
            if serves and wait and subject.app is not None:
                options = WorkerOptions(queues=[queue] if queue else ())
                await stack.enter_async_context(make_worker(client, [subject.app], options))
            started = await client.start(
                subject.workflow, *subject.values, id=id, if_exists=if_exists, queue=queue, timeout=timeout
            )
            if wait:
                return await see_through(started, subject, target, serves=serves)
        tell(started, target)
        if not target.json and not await _polled(client, queue or subject.queue):
            note(f"no worker polls its queue yet: {subject.served_by}")
    return ExitCode.OK


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is to be run."""

    workflow: Any
    """A workflow, a `Dag`, or a document: a `DagSpec`."""
    values: list[Any]
    queue: str
    result: TypeAdapter[Any]
    app: App | None
    """None for a document."""

    @property
    def served_by(self) -> str:
        """The command that serves it."""
        return f"holdfast worker {self.app.name if self.app else 'APP'}"


def _subject(app: str, given: Any, *, has_input: bool) -> _Subject:
    if is_document(app):
        return subject_of_dag(one_spec(app), None, given)
    target, name = split(app)
    if name:
        module_app = load_app(target)
        for module in module_app.modules:
            if dag := dags_of(module).get(name):
                return subject_of_dag(dag, module_app, given)
    loaded = load_app(app)
    dags = [dag for module in loaded.modules for dag in dags_of(module).values()]
    if not loaded.workflows and len(dags) == 1:
        return subject_of_dag(dags[0], loaded, given)
    workflow = loaded.only()
    workflow.check()
    return _Subject(
        workflow=workflow,
        values=arguments(workflow, given) if has_input else [],
        queue=workflow.options.queue,
        result=workflow.signature.result,
        app=loaded,
    )


def subject_of_dag(dag: Dag | DagSpec, app: App | None, given: Any) -> _Subject:
    """A DAG as what is to be run."""
    from holdfast.engine.dag.flow import dag_workflow

    return _Subject(
        workflow=dag,
        values=[given],
        queue=dag_workflow.options.queue,
        result=dag_workflow.signature.result,
        app=app,
    )


async def _polled(client: Client, queue: str) -> bool:
    return bool(await pollers(client, queue))


def tell(run: Run[Any], target: Target) -> None:
    """Print the id of a run that nobody waits for."""
    if target.json:
        print_json({"id": run.id})
    else:
        say(run.id)
        note(f"look at it: holdfast runs show {run.id}")


async def see_through(run: Run[Any], subject: _Subject, target: Target, *, serves: bool) -> int:
    """Wait for a run, print its result, and return the exit code."""
    note(f"run {run.id}", style="dim")
    result: asyncio.Task[Any] = asyncio.create_task(run.result())
    try:
        with busy("starting") as show:
            while not (await asyncio.wait([result], timeout=_REFRESH_SECONDS))[0]:
                with suppress(TryAgain):  # the server may be on its way back
                    described = await run.describe()
                    show(f"{described.state.value}: {described.stuck or described.waiting_for or ''}")
        value = subject.result.dump_python(result.result(), mode="json", by_alias=True)
    except asyncio.CancelledError:
        result.cancel()
        again = subject.served_by if serves else f"holdfast runs watch {run.id}"
        note(f"run {run.id} is not cancelled: {again} (or: holdfast runs cancel {run.id})")
        raise
    except RunFailed as error:
        if target.json:
            described = await run.describe()
            failure = {"code": error.code, "type": error.error_type, "message": error.message}
            print_json({"id": run.id, "state": described.state.value, "result": None, "error": failure})
        note(f"error: {error}", style="red")
        note(f"look at it: holdfast runs show {run.id}")
        return exit_code(error)
    if target.json:
        print_json({"id": run.id, "state": "completed", "result": value, "error": None})
    else:
        print_json(value)
    return ExitCode.OK
