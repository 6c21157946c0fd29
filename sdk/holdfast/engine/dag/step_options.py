"""The options of steps, as they go along with a DAG and with a map: a run keeps those that it began with."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic_core import from_json
from temporalio.api.common.v1 import Payload

from holdfast.authoring.registry import registry
from holdfast.engine.data.values import is_object
from holdfast.engine.own_activity import own_activity
from holdfast.engine.payloads import as_payload
from holdfast.options import RetryPolicy, StepOptions
from holdfast.spec.duration import parse_duration
from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.spec.names import STEP_TYPE

FIND_STEPS = "holdfast.find_steps"
"""The step that looks up the options of steps that whoever started the run did not know."""


def step_names(spec: DagSpec) -> frozenset[str]:
    """The steps that a document calls, those of the documents inside it included."""
    return frozenset(_names((node.type, node.config) for node in spec.nodes))


def _names(nodes: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterable[str]:
    for kind, config in nodes:
        if kind == STEP_TYPE:
            yield config["step"]
        elif is_object(inner := config.get("workflow")):
            yield from _names(
                (node.get("type", STEP_TYPE), node.get("config", {})) for node in inner["nodes"]
            )


def known_steps(names: Iterable[str]) -> dict[str, Any]:
    """The options of those steps that this process knows, as JSON."""
    steps = registry().steps()
    return {name: options_json(steps[name].options) for name in sorted(names) if name in steps}


def node_options(node: NodeSpec, own: Mapping[str, Any]) -> StepOptions:
    """The options of the call of a node: what its document says, and else its step's own.

    Args:
        node: The node.
        own: By step, what `options_json` wrote.
    """
    name = str(node.config.get("step")) if node.type == STEP_TYPE else ""
    options: dict[str, Any] = _fields(own[name]) if name in own else {}
    options["summary"] = node.title or options.get("summary")
    if node.local is not None:
        options["local"] = node.local
    if node.timeout is not None:
        options["timeout"] = node.timeout
    if node.retry is not None:
        options["retry"] = node.retry.policy
    if name:
        options.update({key: node.config[key] for key in ("queue", "priority") if key in node.config})
        if "heartbeat" in node.config:
            heartbeat = node.config["heartbeat"]
            options["heartbeat"] = None if heartbeat is None else parse_duration(heartbeat)
    return StepOptions(**options)


def options_json(options: StepOptions) -> dict[str, Any]:
    """The options that a call in another run needs, as JSON."""
    retry = options.retry
    return {
        "timeout": _seconds(options.timeout),
        "heartbeat": _seconds(options.heartbeat),
        "local": options.local,
        "queue": options.queue,
        "priority": options.priority,
        "summary": options.summary,
        "deferred": options.deferred,
        "retry": {
            "max_attempts": retry.max_attempts,
            "first_delay": retry.first_delay.total_seconds(),
            "backoff": retry.backoff,
            "max_delay": retry.max_delay.total_seconds(),
            "jitter": retry.jitter,
            "non_retryable": retry.non_retryable_names,
        },
    }


def options_of_json(document: Mapping[str, Any]) -> StepOptions:
    """The options that `options_json` wrote."""
    return StepOptions(**_fields(document))


def _fields(document: Mapping[str, Any]) -> dict[str, Any]:
    retry: object = document["retry"]
    assert is_object(retry)
    delays = {name: timedelta(seconds=retry[name]) for name in ("first_delay", "max_delay")}
    policy: dict[str, Any] = {**retry, **delays, "non_retryable": tuple(retry["non_retryable"])}
    return {
        **document,
        "timeout": _duration(document["timeout"]),
        "heartbeat": _duration(document["heartbeat"]),
        "retry": RetryPolicy(**policy),
    }


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def step_finder() -> Callable[..., Any]:
    """The activity that looks steps up."""

    async def find(asked: Payload) -> Payload:
        names: list[str] = from_json(asked.data)
        here = sorted(registry().steps())
        found = known_steps(names)
        near = {name: difflib.get_close_matches(name, here, n=1) for name in names if name not in found}
        return as_payload({"found": found, "near": {name: close[0] for name, close in near.items() if close}})

    return own_activity(FIND_STEPS, find)
