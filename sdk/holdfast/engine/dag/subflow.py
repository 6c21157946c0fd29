"""A node of type `workflow`: another workflow, written as code or as a DAG, as a child."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.authoring.registry import registry
from holdfast.authoring.workflow import Workflow
from holdfast.engine.calls import Calls
from holdfast.engine.children import child_run_id
from holdfast.engine.compensation import Undo
from holdfast.engine.dag.config import bind_input
from holdfast.engine.dag.step_options import step_names
from holdfast.engine.data.in_workflow import encode_argument
from holdfast.engine.data.values import is_object
from holdfast.engine.evaluation import Evaluation
from holdfast.errors import InvalidInput
from holdfast.spec.document import load_value


async def call_workflow(
    calls: Calls,
    config: Mapping[str, Any],
    payloads: Mapping[str, Payload],
    *,
    label: str,
    undo: Undo | None = None,
    used: dict[str, float] | None = None,
    evaluation: Evaluation | None = None,
    steps: Mapping[str, Any] | None = None,
) -> Payload:
    """Run the workflow that a node names, or holds as a document, and give its result.

    Args:
        calls: How the run calls children.
        config: The node's.
        payloads: The raw values that its `input` and `id` name.
        label: Names the call; part of the child's id unless the config has one.
        undo: What undoes it once it has completed.
        used: Where to count what it used up.
        evaluation: Where values are decoded.
        steps: The options of steps that a document inside calls.

    Raises:
        InvalidInput: There is no such workflow, or it takes no such input.
        RunFailed: The child failed.
    """
    evaluation = evaluation or Evaluation(calls)
    rendered = await evaluation.render({key: config.get(key) for key in ("input", "id")}, payloads)
    child, values = _child(config["workflow"], rendered["input"], label, steps or {})
    run_id = rendered["id"]
    if run_id is None:
        suffix = "".join(c if c.isalnum() or c in "._-" else ":" for c in label).strip(":")
        run_id = child_run_id(workflow.info().workflow_id, suffix)
    child = child.with_options(id=run_id, queue=str(config.get("queue", child.options.queue)))
    result = await calls.call_child(child, values, undo=undo, used=used)
    return encode_argument(result, workflow.payload_converter(), where=f"The output of {label!r}")


def _child(
    named: object, value: Any, label: str, steps: Mapping[str, Any]
) -> tuple[Workflow[..., Any], list[Any]]:
    if is_object(named):
        from holdfast.engine.dag.flow import dag_call  # which itself stands on this module

        spec = load_value(named)
        return dag_call(spec, value, {name: steps[name] for name in step_names(spec) if name in steps})
    known = registry().workflows()
    name = str(named)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        shown = ", ".join(sorted(one for one in known if not one.startswith("holdfast"))) or "none"
        raise InvalidInput(f"node {label!r}: this worker has no workflow {name!r}; {meant}it has: {shown}")
    return known[name], bind_input(known[name], value)
