"""The steps that a retried or forked run did not make itself, as its notes and what it was given tell. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from holdfast.client.description import Origin, RunDescription, StepDescription
from holdfast.engine.dag.nodes import NODE
from holdfast.engine.given import GIVEN_MEMO, ORIGIN_MEMO, Given, positions
from holdfast.engine.history.facts import COMPENSATION_PREFIX, INTERNAL_PREFIXES, Timeline
from holdfast.engine.history.payloads import Opened
from holdfast.states import RunState, StepState

CHANGED: Final = "its arguments changed"


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
    document = opened.json(line.memo.get(GIVEN_MEMO))
    if not isinstance(document, dict):
        return run
    given = Given.of_json(document)
    undone = {step.compensates for step in run.steps if step.state is StepState.COMPLETED}
    notes = [note for note in map(opened.json, line.reused) if isinstance(note, dict)]
    taken = [given.entries[position] for note in notes for position in positions(_rows(note.get("given")))]
    changed = {key for note in notes for key in _texts(note.get("changed"))}
    steps: list[StepDescription] = []
    children: list[str] = []
    for entry in taken:
        if entry.child:
            parent = run.origin.run if run.origin is not None and given.kind == "fork" else run.id
            children.append(f"{parent}{entry.key}" if entry.key.startswith(":") else entry.key)
        elif not entry.name.startswith(INTERNAL_PREFIXES):
            base, _, number = entry.key.rpartition("-")
            steps.append(
                StepDescription(
                    name=entry.name.removeprefix(NODE),
                    ordinal=int(number) if base == entry.name and number.isdecimal() else 1,
                    activity_id=entry.ran_as,
                    state=StepState.COMPENSATED if entry.ran_as in undone else StepState.COMPLETED,
                    attempt=1,
                    result=opened.preview(entry.result) if entry.result is not None else None,
                    reused_from=entry.execution,
                )
            )
    own = [
        replace(step, rerun=CHANGED)
        if step.activity_id.partition("@")[0] in changed and not step.compensates
        else step
        for step in run.steps
    ]
    pending = run.pending_compensations
    if given.kind == "retry" and run.state is not RunState.COMPLETED:
        known = {item.removeprefix(COMPENSATION_PREFIX) for item in pending}
        pending = [
            step.activity_id
            for step in steps
            if step.name in compensable and step.activity_id not in undone | known
        ] + pending
    return replace(
        run, steps=[*steps, *own], children=[*children, *run.children], pending_compensations=pending
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
