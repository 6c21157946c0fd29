"""Calls of a run that was given results: which of them need not run, and under which ids the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json
from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.engine.children import DAG_WORKFLOW, MAP_WORKFLOW
from holdfast.engine.compensation import Undo
from holdfast.engine.given import REUSED_MEMO, Entry, Found, Given, digest, plain_id, ranges, relative

NOT_GIVEN = frozenset({"holdfast.find_steps"})
"""Steps that always run: a retry takes the options that the steps have today."""

_PATIENCE = 16
"""Turns of the loop in which nothing more is taken, before it is written down what was."""


def child_digest(name: str, payloads: Sequence[Payload]) -> str:
    """A hash of what a child run was started with, without the options of its steps: code that gives a step more time
    does not make it another one."""
    if name == DAG_WORKFLOW:
        return digest(payloads[:2])
    if name != MAP_WORKFLOW:
        return digest(payloads)
    mode, plan, *rest = payloads[:5]
    fields = {
        key: value for key, value in from_json(plan.data).items() if key not in ("options", "concurrency")
    }
    bare = Payload(metadata={"encoding": b"json/plain"}, data=to_json(fields))
    return digest([mode, bare, *rest])


def marked(undo_id: str, restart: str | None) -> str:
    """The id of what undoes a child whose calls' ids do not end as those of its parent."""
    return f"{undo_id}@{restart}"


class Reuse:
    """What one run was given, and how it uses it.

    Args:
        given: What it was given.
        restart: What the ids of its calls end in; see `spec_memo`.
    """

    def __init__(self, given: Given, *, restart: str | None) -> None:
        self.given = given
        self.restart = restart
        self._taken: list[int] = []
        self._changed: list[str] = []
        self._idle: int | None = None

    def step(
        self, name: str, call_id: str, payloads: Sequence[Payload], undo: Undo | None = None
    ) -> tuple[str, Payload | None]:
        """The id under which a step runs, and its result if it need not. What undoes it gets to know who did it."""
        if name in NOT_GIVEN:
            return call_id, None
        key = plain_id(call_id)
        asked = Entry(key=key, name=name, digest=digest(payloads))
        found = self._take(asked)
        if undo is not None:
            undo.foreign = found.foreign
        if self.given.kind == "fork":
            return call_id, found.result
        if found.fresh:
            return f"{key}@{self.given.mark}", None
        return found.entry.ran_as if found.entry is not None else call_id, found.result

    def child(
        self, name: str, child_id: str, payloads: Sequence[Payload], undo: Undo | None
    ) -> tuple[str | None, dict[str, Any] | None, Payload | None]:
        """What the ids of a child run's calls end in, what it is given, and its result if it need not run. What undoes
        it gets an id of its own where it runs anew."""
        own = workflow.info().workflow_id
        key = plain_id(relative(child_id, own))
        asked = Entry(key=key, name=name, digest=child_digest(name, payloads), child=True)
        found = self._take(asked, undo=relative(undo.activity_id, own) if undo else None)
        if undo is not None:
            undo.foreign = found.foreign
        if self.given.kind == "fork":
            # What undoes a child as a whole would undo what the other run did in it: so it does all of it itself. One
            # with an id of its own has, unlike others, the keys of the other run's child, but for the mark.
            inner = found.entry.inner if found.entry and not found.fresh and undo is None else None
            return None if key.startswith(":") else self.given.mark, inner, found.result
        entry = None if found.fresh else found.entry
        inner = entry.inner if entry is not None else None
        if found.fresh:
            restart: str | None = self.given.mark
        elif entry is not None and entry.foreign and entry.result is None:
            restart = self.restart if key.startswith(":") else self.given.mark
            inner = inner if undo is None else None  # as in the fork itself
        else:
            restart = entry.ran_as or None if entry is not None else self.restart
        if undo is not None and restart != self.restart:
            undo.activity_id = marked(undo.activity_id, restart)
        return restart, inner, found.result

    def _take(self, asked: Entry, *, undo: str | None = None) -> Found:
        undone = False
        if undo is not None:
            exact = self.given.entry(asked.key)
            mark = exact.ran_as if exact is not None else ""
            undone = (undo if mark == (self.restart or "") else f"{undo}@{mark}") in self.given.undone
        index, found = self.given.take(asked, undone=undone)
        if found.result is not None and index is not None:
            self._taken.append(index)
        elif found.changed:
            self._changed.append(asked.key)
        else:
            return found
        if self._idle is None:
            asyncio.get_running_loop().call_soon(self._note_soon)
        self._idle = 0
        return found

    def _note_soon(self) -> None:
        if self._idle is None:
            return
        self._idle += 1
        if self._idle < _PATIENCE:
            asyncio.get_running_loop().call_soon(self._note_soon)
        else:
            self.note()

    def note(self) -> None:
        """Write down what was taken since the last time: one event, in a workflow task that is there anyway."""
        self._idle = None
        if not self._taken and not self._changed:
            return
        workflow.upsert_memo({REUSED_MEMO: {"given": ranges(self._taken), "changed": self._changed}})
        self._taken, self._changed = [], []
