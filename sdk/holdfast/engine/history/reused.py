"""The steps that a retried or forked run did not make itself, as its notes and what it was given tell. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from pydantic import JsonValue

from holdfast.client.description import Origin, RunDescription, StepDescription
from holdfast.engine.dag.nodes import NODE
from holdfast.engine.given import (
    GIVEN_MEMO,
    ORIGIN_MEMO,
    Entry,
    Given,
    Kind,
    is_own,
    label_of,
    plain_id,
    positions,
)
from holdfast.engine.history.facts import COMPENSATION_PREFIX, INTERNAL_PREFIXES, Timeline
from holdfast.engine.history.payloads import Opened
from holdfast.engine.leftovers import undoable_of
from holdfast.states import RunState, StepState

CHANGED: Final = "its arguments changed"


@dataclass(frozen=True, kw_only=True)
class Reused:
    """What an execution took of that which it was given."""

    kind: Kind
    steps: list[StepDescription]
    children: list[str]
    changed: frozenset[str]
    """Calls that ran again since their arguments are others."""
    left: list[Entry]
    """What was done before, and it did not come to so far; of a fork nothing, as another run did it."""
    taken: list[Entry]


def read_reused(line: Timeline, opened: Opened, run: RunDescription | None = None) -> Reused | None:
    """What an execution took so far; None if it was given nothing.

    Args:
        line: Its events.
        opened: The payloads that a codec or the storage had to open.
        run: What its own events say: steps that were undone in it, and the ids of its children.
    """
    document = opened.json(line.memo.get(GIVEN_MEMO))
    if not isinstance(document, dict):
        return None
    given = Given.of_json(document)
    own = run.steps if run is not None else []
    undone = {step.compensates for step in own if step.state is StepState.COMPLETED}
    notes = [note for note in map(opened.json, line.reused) if isinstance(note, dict)]
    numbers = Counter[str]()
    steps: list[StepDescription] = []
    children: list[str] = []
    places = [place for note in notes for place in positions(_rows(note.get("given")))]
    for entry in (given.entries[place] for place in places):
        if entry.child:
            parent = run.id if run is not None else ""
            if run is not None and run.origin is not None and given.kind == "fork":
                parent = run.origin.run
            children.append(f"{parent}{entry.key}" if entry.key.startswith(":") else entry.key)
        elif not entry.name.startswith(INTERNAL_PREFIXES):
            base, _, number = entry.key.rpartition("-")
            name = entry.name.removeprefix(NODE)
            numbers[name] += 1
            steps.append(
                StepDescription(
                    name=name,
                    ordinal=int(number) if base == name and number.isdecimal() else numbers[name],
                    activity_id=entry.ran_as,
                    state=StepState.COMPENSATED if entry.ran_as in undone else StepState.COMPLETED,
                    attempt=1,
                    result=opened.preview(entry.result) if entry.result is not None else None,
                    reused_from=entry.execution,
                )
            )
    changed = frozenset(key for note in notes for key in _texts(note.get("changed")))
    others = set(range(len(given.entries))).difference(places)
    return Reused(
        kind=given.kind,
        steps=steps,
        children=children,
        changed=changed,
        left=[given.entries[place] for place in sorted(others) if not given.entries[place].foreign],
        taken=[given.entries[place] for place in places if not given.entries[place].foreign],
    )


def with_reused(
    run: RunDescription, line: Timeline, opened: Opened, *, compensable: Collection[str] = ()
) -> RunDescription:
    """The description of a run with the steps that it was given, which come first.

    Args:
        run: What its own events say.
        line: Its events.
        opened: The payloads that a codec or the storage had to open.
        compensable: Names of steps that are known to have a compensation.
    """
    reused = read_reused(line, opened, run)
    if reused is None:
        return run
    numbers = Counter(step.name for step in reused.steps)
    own: list[StepDescription] = []
    for step in run.steps:
        call_id = plain_id(step.activity_id)
        if not step.compensates and call_id != f"{step.name}-{step.ordinal}":
            step = replace(step, ordinal=step.ordinal + numbers[step.name])
        own.append(replace(step, rerun=CHANGED) if call_id in reused.changed else step)
    return replace(
        _with_left(run, reused, compensable),
        steps=[*reused.steps, *own],
        children=[*reused.children, *run.children],
    )


def with_left(
    run: RunDescription, line: Timeline, opened: Opened, *, compensable: Collection[str] = ()
) -> RunDescription:
    """As `with_reused`, without the steps themselves: only what is still to be undone, and what was not come to."""
    reused = read_reused(line, opened, run)
    return run if reused is None else _with_left(run, reused, compensable)


def _with_left(run: RunDescription, reused: Reused, compensable: Collection[str]) -> RunDescription:
    undone = {step.compensates for step in run.steps if step.state is StepState.COMPLETED}
    # Calls that began again under the id that they had are among the run's own.
    undone |= {step.activity_id for step in run.steps}
    parts = {child for child in run.children if plain_id(child).endswith(":undo")}
    left = [
        entry
        for entry in reused.left
        if entry.ran_as not in undone and not (entry.child and any(entry.key in part for part in parts))
    ]
    pending = run.pending_compensations
    if run.state is not RunState.COMPLETED:
        given = [*reused.taken, *left]
        ids = list(undoable_of(given))
        ids += [
            entry.ran_as
            for entry in given
            if entry.name.removeprefix(NODE) in compensable and entry.result is not None
        ]
        known = undone.union(item.removeprefix(COMPENSATION_PREFIX) for item in pending)
        pending = [one for one in dict.fromkeys(ids) if one not in known] + pending
    return replace(
        run,
        pending_compensations=pending,
        not_reached=[label_of(entry) for entry in left if entry.result is not None and not is_own(entry)]
        if run.state.closed
        else [],
    )


def origin_of(line: Timeline, opened: Opened) -> Origin | None:
    """What the execution goes on from."""
    note = opened.json(line.memo.get(ORIGIN_MEMO))
    if not isinstance(note, dict):
        return None
    text = {key: value for key, value in note.items() if isinstance(value, str)}
    return Origin(
        kind="fork" if text.get("kind") == "fork" else "retry",
        run=text.get("run", ""),
        execution_id=text.get("execution", ""),
        by=text.get("by"),
        reason=text.get("reason"),
    )


def _rows(value: JsonValue) -> list[list[int]]:
    rows = value if isinstance(value, list) else []
    return [[int(str(number)) for number in row] for row in rows if isinstance(row, list)]


def _texts(value: JsonValue) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
