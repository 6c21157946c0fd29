"""What the configs of nodes say, read for the interpreter."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema
from temporalio import workflow

from holdfast.authoring.workflow import Workflow
from holdfast.engine.data.values import is_object
from holdfast.errors import InvalidInput
from holdfast.spec.check_config import compile_schema
from holdfast.spec.duration import parse_duration
from holdfast.spec.model import DagSpec
from holdfast.spec.plain import json_kind
from holdfast.spec.source import path_text


def bind_input(child: Workflow[..., Any], value: Any) -> list[Any]:
    """The arguments of a workflow that gets one input: itself for one parameter, its members for several.

    Raises:
        InvalidInput: It has no such members.
    """
    names = child.signature.names
    if len(names) == 1:
        return [value]
    members = value if is_object(value) else {}
    if (not names and value is not None) or (names and not is_object(value)):
        raise InvalidInput(
            f"workflow {child.name!r} takes {', '.join(names) or 'no input'}, got {type(value).__name__}"
        )
    return child.signature.bind([], members)


def check_input(spec: DagSpec, input: Any) -> None:
    """Refuse an input that the document does not allow.

    Raises:
        InvalidInput: It breaks `input_schema`; names the first few places.
    """
    if spec.input_schema is None:
        return
    found = compile_schema(spec.input_schema, templates=False)(input)
    if found:
        listed = "; ".join(f"{path_text(('input', *path))}: {message}" for message, path in found[:5])
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise InvalidInput(f"the input of dag {spec.name!r} does not fit its input_schema: {listed}{more}")


def map_items(over: object, node: str) -> Sequence[Any]:
    """The items of a map.

    Raises:
        InvalidInput: It is neither a list nor a count.
    """
    if isinstance(over, list):
        items: list[Any] = over  # pyright: ignore[reportUnknownVariableType]
        return items
    if isinstance(over, int) and not isinstance(over, bool):
        if over < 0:
            raise InvalidInput(f"map.over of node {node!r} is {over}: a count is zero or more")
        return range(over)
    kind = "null, as the output of a skipped node is" if over is None else json_kind(over)
    raise InvalidInput(f"map.over of node {node!r} is {kind}: it must be a list or a count")


def switch_ids(value: Any) -> list[str]:
    """The nodes that one way of a switch names."""
    return [value] if isinstance(value, str) else list(value)


def timer_duration(config: Mapping[str, Any]) -> timedelta:
    """How long a timer waits from now.

    Raises:
        InvalidInput: Its config, the templates rendered, says no duration and no time.
    """
    if "until" not in config:
        try:
            return parse_duration(config["duration"])
        except ValueError as exc:
            raise InvalidInput(f"timer: {exc}") from exc
    try:
        until = datetime.fromisoformat(str(config["until"]))
    except ValueError as exc:
        raise InvalidInput(f"timer: until={config['until']!r} is no time in ISO 8601") from exc
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(until - workflow.now(), timedelta(0))


@functools.cache
def _schema_type(schema: str) -> Any:
    problems = compile_schema(json.loads(schema), templates=False)

    def check(value: object) -> object:
        found = problems(value)
        if found:
            raise ValueError("; ".join(message for message, _ in found[:3]))
        return value

    shown: object = json.loads(schema)
    return Annotated[Any, AfterValidator(check), WithJsonSchema(shown if is_object(shown) else {})]


def schema_type(schema: object) -> Any:
    """A type that takes what a JSON Schema allows."""
    return _schema_type(json.dumps(schema, sort_keys=True))
