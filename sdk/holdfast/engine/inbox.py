"""Messages to a run: named, ordered, kept from before anybody waits, delivered once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue, SearchAttributeKey
from temporalio.exceptions import ApplicationError

from holdfast.engine.data.in_workflow import decode_in_workflow
from holdfast.engine.data.values import is_object
from holdfast.engine.full import full
from holdfast.errors import AlreadyDecided, HoldfastError, InvalidInput

if TYPE_CHECKING:
    from pydantic import TypeAdapter

WAITS_MEMO = "holdfast.waits"
WAITING = SearchAttributeKey.for_keyword_list("HoldfastWaiting")
PAUSED = SearchAttributeKey.for_bool("HoldfastPaused")
DAG_MEMO = "holdfast.dag"
DAG = SearchAttributeKey.for_keyword("HoldfastDag")
"""The name of the DAG that a run runs: to Temporal all of them are one workflow."""

_REMEMBERED = 1000
"""Message ids kept to drop second deliveries."""


@dataclass(kw_only=True)
class OpenWait:
    """One `wait_for` or `approval` that is open."""

    name: str
    kind: str
    adapter: TypeAdapter[Any]
    prompt: str | None = None
    form: Mapping[str, Any] | None = None
    deadline: datetime | None = None
    since: datetime = field(default_factory=workflow.now)

    def to_json(self) -> dict[str, Any]:
        """As the memo shows it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "prompt": self.prompt,
            "form": self.form,
            "deadline": self.deadline.isoformat() if self.deadline else None,
            "since": self.since.isoformat(),
        }


class Inbox:
    """The messages of one run and its open waits."""

    def __init__(self) -> None:
        self._messages: dict[str, deque[Payload]] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._waits: list[OpenWait] = []
        self._decided: set[str] = set()
        self._loop = asyncio.get_running_loop()

    def has(self, name: str) -> bool:
        """Whether a message of that name has arrived and was not taken."""
        return bool(self._messages.get(name))

    def put(self, name: str, args: Sequence[RawValue]) -> None:
        """Keep a message. The second argument may be an envelope with an id, by which doubles are dropped."""
        message_id = envelope_id(args)
        if message_id is not None:
            if message_id in self._seen:
                return
            self._seen[message_id] = None
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        payload = args[0].payload if args else workflow.payload_converter().to_payload(None)
        self._messages.setdefault(name, deque()).append(payload)

    def check(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse a message that an open wait could not take, a second decision, or more than a history holds.

        Raises:
            ApplicationError: Of type `InvalidInput` or `AlreadyDecided`.
        """
        if envelope_id(args) in self._seen:
            return  # it was taken before, and `put` drops this one
        if why := full(workflow.info().get_current_history_length()):
            run_id = workflow.info().workflow_id
            raise _refused(InvalidInput(f"run {run_id!r} takes no more messages: {why}"))
        wait = next((wait for wait in self._waits if wait.name == name), None)
        if wait is None:
            if name in self._decided:
                raise _refused(
                    AlreadyDecided(f"{name!r} of run {workflow.info().workflow_id!r} was decided before")
                )
            return
        if wait.kind == "approval" and self.has(name):
            raise _refused(
                AlreadyDecided(f"{name!r} of run {workflow.info().workflow_id!r} was decided before")
            )
        payload = args[0].payload if args else workflow.payload_converter().to_payload(None)
        try:
            decode_in_workflow(payload, wait.adapter, workflow.payload_converter(), where=f"Message {name!r}")
        except InvalidInput as exc:
            raise _refused(exc) from exc

    def take(self, wait: OpenWait) -> Any:
        """The first message that fits; those that do not are dropped with a warning.

        Raises:
            LookupError: There is none.
        """
        queue = self._messages.get(wait.name) or deque[Payload]()
        while queue:
            payload = queue.popleft()
            try:
                return decode_in_workflow(
                    payload, wait.adapter, workflow.payload_converter(), where=f"Message {wait.name!r}"
                )
            except InvalidInput as exc:
                workflow.logger.warning("dropped a message that does not fit: %s", exc)
        raise LookupError(wait.name)

    def open(self, wait: OpenWait) -> None:
        """Show a wait to the outside."""
        self._waits.append(wait)
        self._publish()

    def close(self, wait: OpenWait) -> None:
        """Stop showing a wait."""
        self._waits.remove(wait)
        self._publish()

    def decide(self, name: str) -> None:
        """Remember that an approval was answered or has expired."""
        self._decided.add(name)
        # A second answer that came as a signal must not decide the next approval of that name.
        self._messages.pop(name, None)

    def _publish(self) -> None:
        if not workflow.in_workflow() or asyncio.get_running_loop() is not self._loop:
            # The coroutine of a run that a stopped worker left is being discarded, wherever the garbage collector
            # was at work: what it writes would go into the run that is there.
            return
        # Two commands in the task that is being answered anyway: events, but no round trip.
        workflow.upsert_memo({WAITS_MEMO: [wait.to_json() for wait in self._waits] or None})
        if searchable():
            names = sorted({wait.name for wait in self._waits})
            change = WAITING.value_set(names) if names else WAITING.value_unset()
            workflow.upsert_search_attributes([change])  # pyright: ignore[reportUnknownMemberType]

    def carry(self) -> dict[str, Any]:
        """What the next execution must know, as JSON."""
        return {
            "messages": {
                name: [payload.SerializeToString().hex() for payload in queue]
                for name, queue in self._messages.items()
                if queue
            },
            "seen": list(self._seen),
            "decided": sorted(self._decided),
        }

    def restore(self, carried: Mapping[str, Any]) -> None:
        """Take over what the last execution carried."""
        for name, payloads in carried.get("messages", {}).items():
            older = deque(Payload.FromString(bytes.fromhex(payload)) for payload in payloads)
            self._messages[name] = older + self._messages.get(name, deque())
        self._seen.update(dict.fromkeys(carried.get("seen", [])))
        self._decided.update(carried.get("decided", []))


def searchable() -> bool:
    """Whether this run's namespace knows our search attributes: only then may they be written, since writing an
    unknown one fails every workflow task. The client that started the run has set the first value."""
    return workflow.info().typed_search_attributes.get(PAUSED) is not None


def envelope_id(args: Sequence[RawValue]) -> str | None:
    """The id in the envelope that `run.send` adds to a message; other senders add none."""
    if len(args) < 2:
        return None
    try:
        envelope: object = workflow.payload_converter().from_payload(args[1].payload)
    except (KeyError, RuntimeError, ValueError):
        return (
            None  # another kind of client sent it: no envelope of ours, and no reason to fail the run's task
        )
    found = envelope.get("id") if is_object(envelope) else None
    return found if isinstance(found, str) else None


def _refused(error: HoldfastError) -> ApplicationError:
    return ApplicationError(error.message, type=type(error).__name__, non_retryable=True)
