"""The workflow that every worker serves and every DAG runs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio import workflow as temporal

from holdfast.authoring.workflow import Workflow
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.dag.config import check_input
from holdfast.engine.dag.interpreter import Interpreter
from holdfast.engine.dag.state import DagView, NodeView
from holdfast.engine.dag.step_options import known_steps, step_names
from holdfast.engine.data.in_workflow import encode_argument
from holdfast.engine.payloads import NULL, has_refs, plain
from holdfast.engine.shell import Shell
from holdfast.errors import InvalidInput
from holdfast.options import WorkflowOptions
from holdfast.spec.document import load_value
from holdfast.spec.model import DagSpec
from holdfast.states import StepState


async def run_dag(
    document: dict[str, Any],
    input: Any,
    carried: dict[str, Any] | None = None,
    steps: dict[str, Any] | None = None,
) -> Any:
    """Run a DAG.

    Args:
        document: The spec, complete and checked; this run keeps it.
        input: The run's input.
        carried: What the execution before this one took along.
        steps: The options of the steps that it calls, as far as whoever started it knew them.
    """
    run = temporal.instance()
    assert isinstance(run, Shell)
    scope, converter = run.run_scope, temporal.payload_converter()
    payload = encode_argument(input, converter, where="The input")
    spec = load_value(document)
    interpreter = Interpreter(spec, payload, scope.calls, scope.waiting, carried)
    scope.set_state(interpreter.view)
    scope.calls.usage = interpreter.view.usage
    if carried is None:
        if not has_refs(payload):
            check_input(spec, input)
        interpreter.progress.steps.update(steps or {})
        interpreter.refuse_what_cannot_run()
        await interpreter.find_steps()
    output = await interpreter.run()
    if output is None:
        again = interpreter.progress.to_payload(spec)
        scope.continue_with([encode_argument(document, converter), payload, again, NULL])
    return plain(output, "The output")


# Our own code: it needs no guard against clocks and chance, and no private copy for each run.
dag_workflow: Workflow[..., Any] = Workflow(
    run_dag, name=DAG_WORKFLOW, options=WorkflowOptions(sandboxed=False)
)


def dag_call(
    spec: DagSpec, input: Any, steps: Mapping[str, Any] | None = None
) -> tuple[Workflow[..., Any], list[Any]]:
    """The workflow that runs a DAG, and its arguments.

    Args:
        spec: The document.
        input: The run's input.
        steps: The options of its steps. Default: what this process knows of them.
    """
    timed = dag_workflow.with_options(timeout=spec.options.timeout)
    own = known_steps(step_names(spec)) if steps is None else dict(steps)
    return timed, [spec.document(complete=True), input, None, own]


@dag_workflow.update
def retry_node(view: DagView, node: str) -> None:
    """Run a failed node again, in a run that pauses on failure."""
    found = _node(view, node)
    if found.state is not StepState.FAILED:
        raise InvalidInput(f"node {node!r} is {_state(found)}: only a failed one can be tried again")
    found.decision = "retry"


@dag_workflow.update
def skip_node(view: DagView, node: str) -> None:
    """Skip a node that has not started, waits, or has failed in a run that pauses on failure; its output is null."""
    found = _node(view, node)
    if found.state not in (None, StepState.WAITING, StepState.FAILED):
        raise InvalidInput(f"node {node!r} is {_state(found)}: it is too late to skip it")
    found.decision = "skip"


def _node(view: DagView, node: str) -> NodeView:
    if view.error is not None:
        raise InvalidInput(f"the run is ending, and nothing can be decided any more: {view.error}")
    found = view.nodes.get(node)
    if found is None:
        listed = ", ".join(list(view.nodes)[:30]) + (", ..." if len(view.nodes) > 30 else "")
        raise InvalidInput(f"dag {view.dag!r} has no node {node!r}; it has {listed}")
    return found


def _state(view: NodeView) -> str:
    return view.state.value if view.state else "pending"
