"""What a trigger starts: written down whole when the trigger is made, so that whoever carries it out needs no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from temporalio.client import Client as TemporalClient
from temporalio.common import RawValue

from holdfast.authoring.workflow import Workflow
from holdfast.client.start import WorkflowAlreadyStartedError, check_start, encode_input, start
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.step_data import StepData
from holdfast.engine.start_memo import TRIGGER_MEMO, spec_memo
from holdfast.errors import InvalidInput
from holdfast.options import WorkflowOptions

if TYPE_CHECKING:
    from holdfast.client.client import Client

MAX_DEPTH: Final = 10
"""How many runs in a row may be started by one another's events."""

VERSION_MEMO: Final = "definition_version"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A workflow with its options, and the arguments as far as they are known."""

    workflow: Workflow[..., Any]
    values: Sequence[Any]
    """The arguments."""

    called: str
    """The name of the workflow, or of the DAG."""

    queue: str
    priority: int | None = None
    version: int | None = None
    """Of a stored workflow."""

    @property
    def dag(self) -> str | None:
        """The name of the DAG, if it is one."""
        return self.called if self.workflow.name == DAG_WORKFLOW else None

    def memo(self, trigger: str, *, stored: bool, depth: int = 0) -> dict[str, Any]:
        """What is written down at the start of each run.

        Args:
            trigger: The name of the trigger.
            stored: Whether large payloads go to a storage.
            depth: How many runs in a row were started by one another's events.
        """
        version = {} if self.version is None else {VERSION_MEMO: self.version}
        return {
            **version,
            **spec_memo(self.workflow, stored=stored),
            TRIGGER_MEMO: {"name": trigger, "depth": depth},
        }

    def facts(self) -> dict[str, Any]:
        """All but the arguments, as JSON values; `target_from` reads them."""
        options, timeout = self.workflow.options, self.workflow.task_timeout
        return {
            "workflow": self.workflow.name,
            "called": self.called,
            "queue": self.queue,
            "timeout": options.timeout.total_seconds() if options.timeout else None,
            "task_timeout": timeout.total_seconds() if timeout else None,
            "priority": self.priority,
            "version": self.version,
            **(self._of_dag() if self.dag else {"parameters": self._parameters()}),
        }

    def _of_dag(self) -> dict[str, Any]:
        document, _, _, steps = self.values
        return {"document": document, "steps": json.loads(json.dumps(steps, default=str))}

    def _parameters(self) -> list[dict[str, Any]]:
        signature = self.workflow.signature
        found: list[dict[str, Any]] = []
        for parameter, adapter in zip(signature.parameters, signature.adapters, strict=True):
            one: dict[str, Any] = {"name": parameter.name, "schema": adapter.json_schema()}
            if parameter.default is not parameter.empty:
                one["default"] = adapter.dump_python(parameter.default, mode="json", by_alias=True)
            found.append(one)
        return found


async def target_of(
    client: Client,
    workflow: object,
    args: Sequence[Any],
    *,
    queue: str | None,
    timeout: timedelta | None,
    priority: int | None,
    listens: bool = False,
) -> Target:
    """What is started, checked as `client.start` checks it.

    Args:
        client: Finds stored workflows.
        workflow: A `@workflow` function, a `Dag` or a document, or the name of a stored workflow.
        args: The arguments.
        queue, timeout, priority: As for `client.start`.
        listens: Whether the arguments are made later, of events.

    Raises:
        InvalidInput: An argument or an option does not fit.
        NotFound: There is no stored workflow of that name.
        Unavailable: The database does not answer.
    """
    check_start(queue=queue, delay=None, priority=priority)
    version: int | None = None
    if isinstance(workflow, str):
        found = await client.workflows.get(workflow)
        workflow, version = found.spec, found.version.version
    if isinstance(workflow, Workflow):
        definition = cast("Workflow[..., Any]", workflow)
        definition.check()
        values = [] if listens else definition.signature.bind(args, {})
        called = definition.name
    else:
        from holdfast.client.dags import (
            checked_dag,
            dag_start,
        )  # slow to import, and many processes have none
        from holdfast.engine.dag.flow import dag_call

        definition, made = dag_call(checked_dag(workflow), None) if listens else dag_start(workflow, args)
        values, called = list(made), cast("Any", workflow).name
    if timeout is not None:
        definition = definition.with_options(timeout=timeout)
    return Target(
        workflow=definition,
        values=values,
        called=called,
        queue=queue or definition.options.queue,
        priority=priority,
        version=version,
    )


def target_from(facts: Mapping[str, Any]) -> Target:
    """What `Target.facts` has written, without arguments; see `with_input`.

    Raises:
        InvalidInput: A document is none that this version can run.
    """
    options = WorkflowOptions(
        queue=facts["queue"],
        timeout=_duration(facts["timeout"]),
        task_timeout=_duration(facts["task_timeout"]),
    )
    workflow: Workflow[..., Any] = Workflow(_elsewhere, name=facts["workflow"], options=options)
    return Target(
        workflow=workflow,
        values=(),
        called=facts["called"],
        queue=facts["queue"],
        priority=facts["priority"],
        version=facts["version"],
    )


def with_input(target: Target, facts: Mapping[str, Any], input: Any) -> Target:
    """The same with the arguments that an input stands for: of a DAG its input; of a workflow with one parameter the
    argument; with several an object that holds them by name.

    Raises:
        InvalidInput: It does not fit.
    """
    if "document" in facts:
        from holdfast.engine.dag.config import check_input
        from holdfast.engine.dag.flow import dag_call
        from holdfast.spec.document import load_value

        spec = load_value(facts["document"])
        check_input(spec, input)
        workflow, values = dag_call(spec, input, facts["steps"])
        options = target.workflow.options
        kept = workflow.with_options(timeout=options.timeout, task_timeout=options.task_timeout)
        return replace(target, workflow=kept, values=values)
    return replace(target, values=_arguments(target.called, facts["parameters"], input))


async def start_run(
    temporal: TemporalClient,
    data: StepData,
    target: Target,
    *,
    run_id: str,
    trigger: str,
    depth: int,
    searchable: bool,
) -> bool:
    """Start a run, unless there is or was one of its id.

    Returns:
        Whether it was started.

    Raises:
        InvalidInput, PayloadTooLarge: The input cannot be sent.
        Unavailable: The server does not answer.
    """
    payloads = await encoded(data, target)
    try:
        await start(
            temporal,
            target.workflow,
            payloads,
            run_id=run_id,
            queue=target.queue,
            if_exists="raise",
            delay=None,
            memo=target.memo(trigger, stored=data.stored, depth=depth),
            search_attributes=None,
            priority=target.priority,
            summary=None,
            eager=False,
            searchable=searchable,
            dag=target.dag,
        )
    except WorkflowAlreadyStartedError:
        return False
    return True


async def encoded(data: StepData, target: Target) -> list[RawValue]:
    """The payloads of the arguments.

    Raises:
        InvalidInput, PayloadTooLarge: One cannot be sent.
    """
    if target.workflow.fn is not _elsewhere or target.dag:
        return await encode_input(data, target.workflow, target.values)
    where = f"The input of workflow {target.called!r}"
    anything = make_adapter(Any)
    return [RawValue(await data.encode_input(value, anything, where=where)) for value in target.values]


def digest(*parts: object) -> str:
    """A short name for what was given, the same in every process."""
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:24]


def _arguments(called: str, parameters: Sequence[Mapping[str, Any]], input: Any) -> list[Any]:
    from holdfast.spec.check_config import compile_schema
    from holdfast.spec.source import path_text

    names = [one["name"] for one in parameters]
    if len(names) == 1:
        given: dict[str, Any] = {} if input is None and "default" in parameters[0] else {names[0]: input}
    elif not names or input is None:
        given = {}
    elif isinstance(input, dict):
        given = cast("dict[str, Any]", input)
    else:
        raise InvalidInput(
            f"workflow {called!r} takes {', '.join(names)}: make an object that holds them by name"
        )
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise InvalidInput(
            f"workflow {called!r} has no parameter {unknown[0]!r}; it takes {', '.join(names)}"
        )
    values: list[Any] = []
    for one in parameters:
        name = one["name"]
        if name not in given and "default" not in one:
            raise InvalidInput(f"workflow {called!r} misses the argument {name!r}")
        value = given.get(name, one.get("default"))
        found = compile_schema(one["schema"], templates=False)(value) if name in given else []
        if found:
            listed = "; ".join(f"{path_text((name, *path))}: {message}" for message, path in found[:5])
            raise InvalidInput(f"the input does not fit workflow {called!r}: {listed}")
        values.append(value)
    return values


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


async def _elsewhere() -> None:
    """Stands for a workflow whose code is in another process."""
