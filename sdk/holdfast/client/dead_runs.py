"""A failed run that Temporal has deleted, started anew from what its dead letter has kept."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from holdfast.client.start import unavailable
from holdfast.errors import AlreadyStarted, InvalidInput
from holdfast.options import DEFAULT_QUEUE, UNSET

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.store.dead_letters import DeadLetter


async def start_anew(client: Client, letter: DeadLetter, values: list[Any], new_id: str) -> None:
    """Start the run of a letter from its beginning, with the time limit, the notes and the priority that it had.

    Raises:
        AlreadyStarted: The new id is taken.
        Unavailable: The server does not answer.
    """
    from temporalio.common import Priority, SearchAttributePair, TypedSearchAttributes
    from temporalio.exceptions import WorkflowAlreadyStartedError
    from temporalio.service import RPCError

    from holdfast.engine.inbox import PAUSED

    payload = letter.payload or {}
    kept: dict[str, Any] = payload.get("begun_with") or {}
    priority, seconds = kept.get("priority"), kept.get("task_timeout_seconds")
    # Without its first value, a run does not show that it waits or is paused.
    shown = TypedSearchAttributes([SearchAttributePair(PAUSED, False)]) if client.searchable else None
    try:
        await client.temporal.start_workflow(
            letter.workflow,
            args=values,
            id=new_id,
            task_queue=payload.get("queue") or DEFAULT_QUEUE,
            task_timeout=timedelta(seconds=seconds) if seconds else None,
            memo=kept.get("memo"),
            priority=Priority(priority_key=priority) if priority else Priority.default,
            search_attributes=shown,
        )
    except WorkflowAlreadyStartedError as error:
        raise AlreadyStarted(f"run {new_id!r} exists already", run=client.get(new_id)) from error
    except RPCError as error:
        raise unavailable(error) from error


def values_of(letter: DeadLetter, input: Any) -> list[Any]:
    """The arguments of a run that is started anew.

    Raises:
        InvalidInput: They are not known, or do not fit.
    """
    payload = letter.payload or {}
    kept: list[Any] = payload.get("input") or []
    if payload.get("dag"):
        raise InvalidInput(
            f"Temporal has deleted run {letter.run_id!r}, and with it the document of the DAG "
            f"{letter.workflow!r}: start it again by hand, and discard the letter"
        )
    if input is not UNSET:
        if len(kept) == 1:
            return [input]
        values: list[Any] = list(cast("list[Any]", input)) if isinstance(input, list | tuple) else []
        if not isinstance(input, list | tuple) or (kept and len(values) != len(kept)):
            raise InvalidInput(
                f"workflow {letter.workflow!r} takes {len(kept)} arguments: give a list of all"
            )
        return values
    if not all(given["complete"] for given in kept):
        raise InvalidInput(
            f"Temporal has deleted run {letter.run_id!r}, and the history keeps only the beginning of its input: "
            "give the input"
        )
    return [json.loads(given["text"]) for given in kept]
