"""Starting a DAG: the document is an argument of the workflow that runs DAGs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from holdfast.authoring.catalogue import ensure_valid_here
from holdfast.authoring.dag import Dag
from holdfast.authoring.executors import Executors
from holdfast.authoring.registry import registry
from holdfast.authoring.workflow import Workflow
from holdfast.engine.dag.config import check_input
from holdfast.engine.dag.flow import dag_call
from holdfast.errors import InvalidExecutor, InvalidInput
from holdfast.spec.model import DagSpec, NodeSpec, RetrySpec


def dag_start(dag: object, args: Sequence[Any]) -> tuple[Workflow[..., Any], Sequence[Any]]:
    """The workflow that runs a DAG, and its arguments.

    Args:
        dag: A `Dag` or a `DagSpec`.
        args: Its input, if it has one.

    Raises:
        InvalidInput: It is no DAG, a wrong one, or does not take this input.
    """
    spec = checked_dag(dag)
    if len(args) > 1:
        raise InvalidInput(f"dag {spec.name!r} takes one input, got {len(args)}")
    given = args[0] if args else None
    if spec.input_schema is not None:
        try:
            check_input(spec, to_jsonable_python(given, by_alias=True))
        except PydanticSerializationError as exc:
            raise InvalidInput(f"the input of dag {spec.name!r} cannot be written as JSON: {exc}") from exc
    return dag_call(spec, given)


def checked_dag(dag: object) -> DagSpec:
    """The document of a DAG, complete and checked.

    Raises:
        InvalidInput: It is no DAG, or a wrong one.
    """
    if not isinstance(dag, Dag | DagSpec):
        raise InvalidInput(f"{dag!r} is no workflow: decorate the function with @workflow")
    if isinstance(dag, Dag):
        spec = dag.compile()
    else:
        spec = dag
        ensure_valid_here(spec)
    return with_executor_defaults(spec)


def with_executor_defaults(spec: DagSpec) -> DagSpec:
    """The same, with the timeouts and retries of executors written out where it says nothing: another version of a
    package changes nothing under an open run.

    Raises:
        InvalidInput: A node runs locally whose executor may not.
    """
    executors = registry().executors
    here = set(executors.types())
    if here.isdisjoint(node.type for node in spec.nodes):
        return spec
    return spec.model_copy(
        update={
            "nodes": tuple(
                _with_defaults(node, executors) if node.type in here else node for node in spec.nodes
            )
        }
    )


def _with_defaults(node: NodeSpec, executors: Executors) -> NodeSpec:
    try:
        options = executors.find(node.type).options
    except InvalidExecutor:  # the worker may have a version that works
        return node
    if node.local and not options.local:
        raise InvalidInput(f"node {node.id!r}: executor {node.type!r} may not run locally: drop local")
    changes: dict[str, Any] = {}
    if node.timeout is None:
        changes["timeout"] = options.timeout
    if node.retry is None:
        changes["retry"] = RetrySpec.of(options.retry)
    return node.model_copy(update=changes)
