"""The worker's side of maps over large lists: to cut them into chunks, and to keep and join their outputs."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload

from holdfast.engine.data.adapters import plain_adapter
from holdfast.engine.data.refdoc import root_ref
from holdfast.engine.data.refs import genuine_refs, is_list
from holdfast.engine.data.step_data import StepData
from holdfast.engine.own_activity import own_activity
from holdfast.engine.payloads import as_payload, list_of, object_of
from holdfast.errors import InvalidInput
from holdfast.spec.expressions import compile, evaluate_anywhere

CUT, LOAD, KEEP, JOIN = "holdfast.map_cut", "holdfast.map_load", "holdfast.map_keep", "holdfast.map_join"

CHUNK_BYTES = 1024 * 1024
"""The largest chunk of items; a larger item is a chunk of its own."""

KEPT_BYTES = 32 * 1024
"""Outputs of a child run over this size go to the storage before they go to the run above it."""


async def _cut(data: StepData, asked: Payload) -> Payload:
    """Evaluate `over` and write its items as chunks of `size` items or less, each a Ref where there is a storage.

    Returns:
        An object with `total` and `chunks`.
    """
    call: dict[str, Any] = await data.decode(asked, plain_adapter(), where="The list of a map")
    over = await asyncio.to_thread(evaluate_anywhere, compile(call["expression"]), call["values"])
    if not is_list(over):
        return object_of({"over": await data.encode_result(over, plain_adapter(), step=CUT)})
    if len(over) > call["most"]:
        raise InvalidInput(f"the map has {len(over):,} items; at most {call['most']:,} are run")
    chunks: list[Payload] = []
    start = 0
    while start < len(over):
        written: list[bytes] = []
        size_bytes = 0
        for item in over[start : start + call["size"]]:
            data_of_item = to_json(item)
            if written and size_bytes + len(data_of_item) > CHUNK_BYTES:
                break
            written.append(data_of_item)
            size_bytes += len(data_of_item)
        start += len(written)
        chunk = Payload(metadata={"encoding": b"json/plain"}, data=b"[" + b",".join(written) + b"]")
        chunks.append(list_of([as_payload(len(written)), await data.keep(chunk, step=CUT)], CUT))
    return object_of({"total": as_payload(len(over)), "chunks": list_of(chunks, CUT)})


async def _load(data: StepData, asked: Payload) -> Payload:
    """One chunk of items."""
    ref = root_ref(asked, genuine_refs(asked))
    return asked if ref is None else await data.fetch(ref.sha256)


async def _keep(data: StepData, asked: Payload) -> Payload:
    """A Ref to what is given."""
    return await data.keep(asked, step=KEEP)


async def _join(data: StepData, asked: Payload) -> Payload:
    """One list of `chunks`, of which some are Refs; what their members refer to is not read. Over `ref_bytes` it is a
    Ref itself."""
    call, allowed = from_json(asked.data), genuine_refs(asked)
    parts: list[Payload] = []
    for chunk in call["chunks"]:
        part = Payload(metadata=dict(asked.metadata), data=to_json(chunk))
        ref = root_ref(part, allowed)
        parts.append(part if ref is None else await data.fetch(ref.sha256))
    joined = list_of(parts, JOIN)
    joined.data = b"[" + b",".join(part.data[1:-1] for part in parts if len(part.data) > 2) + b"]"
    return await data.keep(joined, step=JOIN, ref_bytes=call["ref_bytes"])


def map_activities(data: StepData) -> list[Callable[..., Any]]:
    """The activities that maps over large lists need."""
    works = {CUT: _cut, LOAD: _load, KEEP: _keep, JOIN: _join}
    return [own_activity(name, functools.partial(work, data)) for name, work in works.items()]
