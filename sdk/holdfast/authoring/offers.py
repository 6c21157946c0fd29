"""What a worker serves, as a document that others read who have imported none of it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from holdfast.options import StepOptions, WorkflowOptions

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from holdfast.authoring.catalogue import ExecutorEntry
    from holdfast.authoring.signature import Signature
    from holdfast.authoring.step import Step
    from holdfast.authoring.workflow import Workflow

MAX_BYTES: Final = 1024 * 1024
"""Of a whole document. Where it would be larger, schemas are left out, and then the last names."""

_MAX_SCHEMA_BYTES: Final = 64 * 1024
_MAX_LINE: Final = 300
_MAX_TRIGGERS: Final = 20


def offers(
    workflows: Iterable[Workflow[..., Any]],
    steps: Iterable[Step[..., Any]],
    executors: Iterable[ExecutorEntry],
    *,
    queues: Collection[str],
) -> dict[str, Any]:
    """The document: `workflows`, `steps` and `executors`, each by name, with JSON Schemas and options.

    Args:
        workflows: Those that are served.
        steps: All of the process; those of queues that are not polled are left out, and each is there once.
        executors: Of the process.
        queues: Those that are polled.
    """
    unique = {step.name: step for step in steps if step.options.queue is None or step.options.queue in queues}
    return fitted(
        {
            "workflows": [_workflow(one) for one in sorted(workflows, key=lambda one: one.name)],
            "steps": [_step(unique[name]) for name in sorted(unique)],
            "executors": [_executor(one) for one in sorted(executors, key=lambda one: one.type)],
        }
    )


def hash_of(document: Mapping[str, Any]) -> str:
    """The same for documents that say the same."""
    return hashlib.sha256(_encoded(document)).hexdigest()


def fitted(document: dict[str, Any]) -> dict[str, Any]:
    """The document, without what would make it larger than `MAX_BYTES`."""
    if len(_encoded(document)) <= MAX_BYTES:
        return document
    made: dict[str, Any] = {kind: [] for kind in document}
    size = 0
    for kind, found in document.items():
        for one in found:
            small: dict[str, Any] = {**one, "input_schema": None, "output_schema": None, "triggers": []}
            size += len(_encoded(small)) + 2
            if size > MAX_BYTES - 1000:
                return made
            made[kind].append(small)
    return made


def _workflow(workflow: Workflow[..., Any]) -> dict[str, Any]:
    triggers = list(workflow.triggers.items())[:_MAX_TRIGGERS]
    return {
        "name": workflow.name,
        "description": first_line(workflow.fn.__doc__),
        "input_schema": arguments_schema(workflow.signature),
        "output_schema": _schema(workflow.signature.result, "serialization"),
        "options": _workflow_options(workflow.options),
        "triggers": [
            {"name": name, "kind": trigger.kind, "on": str(trigger.on)[:_MAX_LINE]}
            for name, trigger in triggers
        ],
    }


def _step(step: Step[..., Any]) -> dict[str, Any]:
    compensation = step.compensation
    return {
        "name": step.name,
        "aliases": list(step.aliases),
        "description": first_line(step.fn.__doc__),
        "input_schema": arguments_schema(step.signature),
        "output_schema": _schema(step.signature.result, "serialization"),
        "options": _step_options(step.options),
        "compensation": compensation.name if compensation is not None else None,
    }


def _executor(entry: ExecutorEntry) -> dict[str, Any]:
    document = entry.document()
    return {
        "name": entry.type,
        "description": entry.description,
        "input_schema": _bounded(document["config_schema"]),
        "output_schema": _bounded(document["output_schema"]),
        "options": document["options"],
        "package": entry.package,
    }


def _workflow_options(options: WorkflowOptions) -> dict[str, Any]:
    return {
        "queue": options.queue,
        "timeout": options.timeout.total_seconds() if options.timeout else None,
        "versioning": options.versioning,
    }


def _step_options(options: StepOptions) -> dict[str, Any]:
    retry, heartbeat, limit = options.retry, options.heartbeat_timeout, options.limit
    return {
        "queue": options.queue,
        "timeout": options.attempt_timeout.total_seconds(),
        "max_attempts": retry.max_attempts,
        "heartbeat": heartbeat.total_seconds() if heartbeat else None,
        "local": options.local,
        "idempotent": options.idempotent,
        "deferred": options.deferred,
        "process": options.process,
        "priority": options.priority,
        "limit": None if limit is None else {"concurrency": limit.concurrency, "rate": limit.rate},
    }


def arguments_schema(signature: Signature) -> dict[str, Any] | None:
    """The JSON Schema of the arguments: an object with one property per parameter, in their order. `None` if it is too
    large."""
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    required: list[str] = []
    for parameter, schema in zip(signature.parameters, _schemas(signature, definitions), strict=True):
        properties[parameter.name] = schema
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
        elif (default := _plain(parameter.default)) is not _UNKNOWN and isinstance(schema, dict):
            properties[parameter.name] = {**schema, "default": default}
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        made["required"] = required
    if definitions:
        made["$defs"] = definitions
    return _bounded(made)


def _schemas(signature: Signature, definitions: dict[str, Any]) -> list[Any]:
    from pydantic import TypeAdapter

    # Together, so that different models of one name are told apart.
    named = [(name, "validation", one) for name, one in zip(signature.names, signature.adapters, strict=True)]
    try:
        found, more = TypeAdapter.json_schemas(named, by_alias=True)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - types of users may have hooks, and not all types have a schema
        return [_schema(one, "validation") or {} for one in signature.adapters]
    definitions.update(more.get("$defs", {}))
    return [found[name, "validation"] for name in signature.names]


def _schema(adapter: TypeAdapter[Any], mode: Literal["validation", "serialization"]) -> dict[str, Any] | None:
    try:
        return _bounded(adapter.json_schema(by_alias=True, mode=mode))
    except Exception:  # noqa: BLE001 - as above
        return {}


_UNKNOWN: Final = object()


def _plain(value: object) -> object:
    from pydantic_core import to_jsonable_python

    try:
        plain = to_jsonable_python(value)
        return plain if len(json.dumps(plain, allow_nan=False)) <= _MAX_LINE else _UNKNOWN
    except (TypeError, ValueError, RecursionError):
        return _UNKNOWN


def _bounded(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return dict(schema) if len(_encoded(schema)) <= _MAX_SCHEMA_BYTES else None
    except (TypeError, ValueError):  # a default or an example that is no JSON
        return {}


def first_line(docstring: str | None) -> str:
    """The first line of a docstring that says something; empty if there is none."""
    line = next((line for line in (docstring or "").splitlines() if line.strip()), "")
    return line.strip()[:_MAX_LINE]


def _encoded(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
