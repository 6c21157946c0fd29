"""Starting a DAG: the document is an argument of the workflow that runs DAGs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from holdfast.authoring.dag import Dag
from holdfast.authoring.workflow import Workflow
from holdfast.engine.dag.config import check_input
from holdfast.engine.dag.flow import dag_call
from holdfast.errors import InvalidInput
from holdfast.spec.model import DagSpec
from holdfast.spec.validate import ensure_valid


def dag_start(dag: object, args: Sequence[Any]) -> tuple[Workflow[..., Any], Sequence[Any]]:
    """The workflow that runs a DAG, and its arguments.

    Args:
        dag: A `Dag` or a `DagSpec`.
        args: Its input, if it has one.

    Raises:
        InvalidInput: It is no DAG, a wrong one, or does not take this input.
    """
    if not isinstance(dag, Dag | DagSpec):
        raise InvalidInput(f"{dag!r} is no workflow: decorate the function with @workflow")
    if len(args) > 1:
        raise InvalidInput(f"dag {dag.name!r} takes one input, got {len(args)}")
    if isinstance(dag, Dag):
        spec = dag.compile()
    else:
        spec = dag
        ensure_valid(spec)
    given = args[0] if args else None
    if spec.input_schema is not None:
        try:
            check_input(spec, to_jsonable_python(given, by_alias=True))
        except PydanticSerializationError as exc:
            raise InvalidInput(f"the input of dag {spec.name!r} cannot be written as JSON: {exc}") from exc
    return dag_call(spec, given)
