"""Opens what a codec hid in the events of a run, as far as a picture needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import WorkflowSerializationContext

from holdfast.engine.history.build import WAITS_MEMO
from holdfast.engine.history.payloads import Opened, open_payloads
from holdfast.engine.start_memo import EMITTED_MEMO


async def open_events(
    client: Client, run_id: str, events: Sequence[HistoryEvent], needed: Iterable[Payload]
) -> Opened:
    """Open the payloads of events.

    Args:
        client: Whose codec and storage to use.
        run_id: The run's id.
        events: The events.
        needed: What is fetched wherever it is.
    """
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=run_id)
    converter = client.data_converter.with_context(context)
    encoded = _payloads(events) if converter.payload_codec is not None else ()
    return await open_payloads(converter, encoded, [*needed, *_waits(events)])


async def open_notes(client: Client, run_id: str, events: Sequence[HistoryEvent]) -> Opened:
    """Open what a run wrote down of its waits and of what it emitted, and nothing else."""
    if not (notes := _noted(events, (WAITS_MEMO, EMITTED_MEMO))):
        return Opened()
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=run_id)
    return await open_payloads(client.data_converter.with_context(context), notes, notes)


def _waits(events: Iterable[HistoryEvent]) -> list[Payload]:
    """What the run wrote down of its waits, which can be large enough to lie in storage."""
    return _noted(events, (WAITS_MEMO,))


def _noted(events: Iterable[HistoryEvent], names: Sequence[str]) -> list[Payload]:
    memos = (event.workflow_properties_modified_event_attributes.upserted_memo.fields for event in events)
    return [memo[name] for memo in memos for name in names if name in memo]


def _payloads(events: Iterable[HistoryEvent]) -> Iterable[Payload]:
    """What a codec may have to open: arguments, results, summaries, notes."""
    for event in events:
        attributes = getattr(event, event.WhichOneof("attributes") or "", None)
        if attributes is None:
            continue
        for name in attributes.DESCRIPTOR.fields_by_name.keys() & {"input", "result", "accepted_request"}:
            held = getattr(attributes, name)
            if name == "accepted_request":
                held = held.input.args
            yield from [held] if isinstance(held, Payload) else held.payloads
        if event.HasField("marker_recorded_event_attributes"):
            for held in attributes.details.values():
                yield from held.payloads
        if event.HasField("workflow_properties_modified_event_attributes"):
            yield from attributes.upserted_memo.fields.values()
        if event.HasField("user_metadata"):
            yield event.user_metadata.summary
