"""Payloads put together without decoding what they hold: outputs pass through a run as they came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import from_json, to_json
from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.engine.data.adapters import plain_adapter
from holdfast.engine.data.in_workflow import decode_in_workflow
from holdfast.engine.data.refs import genuine_refs, list_refs
from holdfast.errors import InvalidInput

NULL = Payload(metadata={"encoding": b"json/plain"}, data=b"null")

ATTEMPT = "holdfast-attempt"
"""In the metadata of a node's result: which attempt gave it, unless it was the first."""

USAGE = "holdfast-usage"
"""In the metadata of a step's result: what it used up, as JSON numbers by unit."""


def as_payload(value: Any) -> Payload:
    """A plain JSON value."""
    return Payload(metadata={"encoding": b"json/plain"}, data=to_json(value))


def json_of(payload: Payload, name: str) -> bytes:
    """The JSON of an output, whatever is behind its Refs.

    Raises:
        InvalidInput: The output is no JSON.
    """
    encoding = payload.metadata.get("encoding", b"")
    if encoding == b"binary/null":
        return b"null"
    if encoding != b"json/plain":
        raise InvalidInput(
            f"the output of {name!r} is {encoding.decode(errors='replace')}; nodes exchange JSON"
        )
    return payload.data


def object_of(values: Mapping[str, Payload]) -> Payload:
    """One JSON object of many values, none of which is decoded."""
    members = (to_json(name) + b":" + json_of(payload, name) for name, payload in values.items())
    return _joined(b"{" + b",".join(members) + b"}", values.values())


def list_of(values: Iterable[Payload], name: str) -> Payload:
    """One JSON list of many values, none of which is decoded."""
    items = list(values)
    return _joined(b"[" + b",".join(json_of(payload, name) for payload in items) + b"]", items)


def _joined(data: bytes, parts: Iterable[Payload]) -> Payload:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
    refs = {sha256 for part in parts for sha256 in genuine_refs(part)}
    list_refs(payload, sorted(refs))
    return payload


def has_refs(payload: Payload) -> bool:
    """Whether part of a value lies in storage, where workflow code cannot look at it."""
    return bool(genuine_refs(payload))


def plain(payload: Payload, where: str) -> Any:
    """A value in workflow code as plain JSON, with Refs where it is large."""
    return decode_in_workflow(payload, plain_adapter(), workflow.payload_converter(), where=where)


def note_usage(payload: Payload, spent: Mapping[str, float]) -> None:
    """Write down with a run's result what its steps report to have used up."""
    reported = {unit: amount for unit, amount in spent.items() if amount and unit not in ("calls", "seconds")}
    if reported:
        payload.metadata[USAGE] = to_json(reported)


def take_usage(payload: Payload, spent: dict[str, float]) -> Payload:
    """Add what a step used up to what was spent, and give back its output without that note."""
    noted = payload.metadata.get(USAGE)
    if noted is None:
        return payload
    for unit, amount in from_json(noted).items():
        spent[unit] = spent.get(unit, 0) + amount
    bare = Payload()
    bare.CopyFrom(payload)
    del bare.metadata[USAGE]
    return bare


def attempts_of(payload: Payload) -> int | None:
    """How many attempts a result took, if it was more than one."""
    noted = payload.metadata.get(ATTEMPT)
    return int(noted) if noted else None
