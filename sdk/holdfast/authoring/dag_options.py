"""What the nodes of a `Dag` may be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, TypedDict

from holdfast.authoring.step import Step
from holdfast.options import Limit, RetryPolicy, StepOptions
from holdfast.spec.model import CompensateSpec, LoopSpec, MapSpec, WhenExhausted, WhenUnmet

NodeRef: TypeAlias = str | Step[..., Any]
"""A node: its id, or the step that the DAG declared it with."""


class NodeOptions(TypedDict, total=False):
    """What every node may be given; the fields of `NodeSpec`."""

    name: str
    depends_on: NodeRef | Sequence[NodeRef]
    when: str
    when_unmet: WhenUnmet
    when_exhausted: WhenExhausted
    timeout: timedelta


class WorkOptions(NodeOptions, total=False):
    """What a node that does work may be given."""

    retry: RetryPolicy | str
    loop: LoopSpec | Mapping[str, Any]
    compensate: CompensateSpec | Mapping[str, Any]
    map: MapSpec | Mapping[str, Any] | None


class ExecutorNodeOptions(WorkOptions, total=False):
    """What a node that an executor carries out may be given."""

    local: bool


class StepNodeOptions(NodeOptions, total=False):
    """What a node that calls a step may be given."""

    id: str
    retry: RetryPolicy | str
    loop: LoopSpec | Mapping[str, Any]
    compensate: CompensateSpec | Mapping[str, Any]
    arguments: Mapping[str, Any]
    local: bool


class DeclaredStepOptions(StepNodeOptions, total=False):
    """What a node that declares its step may be given: also the fields of `StepOptions`."""

    heartbeat: timedelta | None
    idempotent: bool
    deferred: bool
    process: bool
    queue: str | None
    priority: int | None
    summary: str | None
    limit: Limit | None


NODE_AND_STEP = frozenset({"timeout", "retry", "local"})
"""Options that a node and a step both have."""

STEP_ONLY = frozenset(
    {"heartbeat", "idempotent", "deferred", "process", "queue", "priority", "summary", "limit"}
)
"""Options that only a step has."""


def own_fields(step: Step[..., Any]) -> dict[str, Any]:
    """What a step's own options say about its node; they stand in the document, so that a later change of the code
    changes nothing under open runs."""
    options, fields = step.options, dict[str, Any]()
    if options.timeout is not None or options.deferred:
        fields["timeout"] = options.attempt_timeout
    if options.retry != RetryPolicy():
        fields["retry"] = options.retry
    if options.local:
        fields["local"] = True
    return fields


def own_config(step: Step[..., Any]) -> dict[str, Any]:
    """The same for the node's config."""
    options, config = step.options, dict[str, Any]()
    if options.queue is not None:
        config["queue"] = options.queue
    if options.priority is not None:
        config["priority"] = options.priority
    if not options.local and options.heartbeat_timeout != StepOptions().heartbeat:
        heartbeat = options.heartbeat_timeout
        config["heartbeat"] = None if heartbeat is None else heartbeat.total_seconds()
    return config
