"""The workflow that every worker serves and every DAG runs in."""

from __future__ import annotations

from typing import Any, Literal

from temporalio import workflow as temporal

from holdfast.authoring.workflow import Workflow
from holdfast.engine.dag.interpreter import Interpreter
from holdfast.engine.dag.state import DagView
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.shell import Shell
from holdfast.errors import InvalidInput
from holdfast.options import WorkflowOptions
from holdfast.spec.document import load_value
from holdfast.states import StepState

DAG_WORKFLOW = "holdfast.dag"


async def run_dag(document: dict[str, Any], input: Any) -> Any:
    """Run a DAG.

    Args:
        document: The spec, complete and checked; this run keeps it.
        input: The run's input.
    """
    run = temporal.instance()
    assert isinstance(run, Shell)
    scope = run.run_scope
    payload = encode_argument(input, temporal.payload_converter(), where="The input")
    interpreter = Interpreter(load_value(document), payload, scope.calls, scope.waiting)
    scope.set_state(interpreter.view)
    output = await interpreter.run()
    return decode_in_workflow(output, make_adapter(Any), temporal.payload_converter(), where="The output")


# Our own code: it needs no guard against clocks and chance, and no private copy for each run.
dag_workflow: Workflow[[dict[str, Any], Any], Any] = Workflow(
    run_dag, name=DAG_WORKFLOW, options=WorkflowOptions(sandboxed=False)
)


@dag_workflow.update
def retry_node(view: DagView, node: str) -> None:
    """Run a failed node again, in a run that pauses on failure."""
    _decide(view, node, "retry")


@dag_workflow.update
def skip_node(view: DagView, node: str) -> None:
    """Go on as if a failed node had been skipped, in a run that pauses on failure."""
    _decide(view, node, "skip")


def _decide(view: DagView, node: str, decision: Literal["retry", "skip"]) -> None:
    found = view.nodes.get(node)
    if found is None:
        raise InvalidInput(f"dag {view.dag!r} has no node {node!r}; it has {', '.join(view.nodes)}")
    if found.state is not StepState.FAILED:
        state = found.state.value if found.state else "pending"
        raise InvalidInput(f"node {node!r} is {state}: only a failed one waits for a decision")
    found.decision = decision
