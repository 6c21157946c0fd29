"""What a `Dag` is given in Python, as its document holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.authoring.dag_options import NodeRef
from holdfast.authoring.signature import where
from holdfast.authoring.step import Step
from holdfast.authoring.workflow import Workflow
from holdfast.errors import InvalidStep, InvalidWorkflow


def given(**values: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def listed(refs: NodeRef | Sequence[NodeRef]) -> list[NodeRef]:
    """One node or several as a list."""
    return [refs] if isinstance(refs, str | Step) else list(refs)


def schema_of(schema: Mapping[str, Any] | type | None, what: str) -> dict[str, Any] | None:
    """A JSON Schema, or that of a type.

    Args:
        schema: As it was given.
        what: What it is for, in messages.

    Raises:
        InvalidWorkflow: JSON cannot hold values of that type.
    """
    if schema is None or isinstance(schema, Mapping):
        return None if schema is None else dict(schema)
    from pydantic import PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        return TypeAdapter(schema).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise InvalidWorkflow(
            f"{what}: {schema!r} has no JSON Schema; give a pydantic model, a dataclass, a type of JSON or a dict that "
            "is a schema"
        ) from error


def step_name(step: object, dag: str) -> str:
    """The name of a step that a node calls.

    Raises:
        InvalidStep: It is none.
    """
    if isinstance(step, str):
        return step
    if isinstance(step, Step):
        return step.name
    raise InvalidStep(
        f"dag {dag!r}: a node calls a step or a step's name, not {_shown(step)}: decorate the function with @step"
    )


def workflow_name(workflow: object, dag: str) -> str:
    """The name of a workflow in code that a node starts.

    Raises:
        InvalidWorkflow: It is none.
    """
    if isinstance(workflow, str):
        return workflow
    if isinstance(workflow, Workflow):
        return workflow.name
    raise InvalidWorkflow(
        f"dag {dag!r}: a node starts a workflow, a Dag or a name, not {_shown(workflow)}: decorate a function with "
        "@workflow, and make a Dag of a document with Dag.load"
    )


def _shown(value: object) -> str:
    return where(value) if callable(value) else repr(value)
