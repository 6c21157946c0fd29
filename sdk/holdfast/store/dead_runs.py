"""How the dead letters of runs come and go: made, and their status changed, in the transaction that stores the run.

What is told of a time before the last failure changes nothing, so runs may be stored again in any order, and decisions
outlast a rebuild.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_

from holdfast.states import RunState, StepState
from holdfast.store.columns import ID_BYTES, MESSAGE_BYTES, STEP_PREVIEW_BYTES, bounded, cut
from holdfast.store.dead_letters import OPEN, DeadLetter, fail_letter, known_letters, set_letter
from holdfast.store.fingerprint import fingerprint
from holdfast.store.rows import IndexedRun, Row, preview
from holdfast.store.schema import dead_letters


def follow(connection: Connection, told: Sequence[tuple[Row, IndexedRun]]) -> None:
    """Make and settle the letters of runs that are being stored.

    Args:
        connection: In the transaction that stores them.
        told: Their rows in `runs`, and what was read of their newest executions.
    """
    ids = [row["id"] for row, _ in told]
    if not ids:
        return
    letters = known_letters(
        connection, or_(dead_letters.c.run_id.in_(ids), dead_letters.c.redriven_as.in_(ids))
    )
    for row, indexed in sorted(told, key=lambda one: one[0]["closed"] or one[1].started):
        mine = [letter for letter in letters if letter.run_id == row["id"]]
        redriven = [letter for letter in letters if letter.redriven_as == row["id"]]
        _follow(connection, row, indexed, mine, redriven)


def _follow(
    connection: Connection,
    row: Row,
    indexed: IndexedRun,
    mine: Sequence[DeadLetter],
    redriven: Sequence[DeadLetter],
) -> None:
    state = RunState(row["state"])
    moment = row["closed"] if state.closed else indexed.started
    own = [letter for letter in mine if moment > _own_failure(letter)]
    if not state.closed:
        for letter in own:
            if letter.kind == "run" and letter.status == "pending":
                set_letter(connection, letter, status="retrying", reason="the run goes on")
        return
    if state is RunState.COMPLETED:
        for letter in [*own, *redriven]:
            if letter.status in OPEN:
                set_letter(connection, letter, status="resolved", reason=f"run {row['id']} completed")
        return
    for letter_row in _compensations(row, indexed):
        fail_letter(connection, letter_row, [one for one in mine if one.identity == letter_row["identity"]])
    if redriven:
        # Its failure is that of what it does anew, not one more; and why that is dead is the first error.
        for letter in redriven:
            if letter.status in OPEN and moment > letter.failed:
                said = cut(_said(row, state, indexed), MESSAGE_BYTES)
                set_letter(connection, letter, status="pending", reason=said, failed=moment)
    elif _is_dead(state, indexed):
        fail_letter(connection, _run_letter(row, indexed, moment), [one for one in mine if one.kind == "run"])
    else:
        for letter in own:
            if letter.status == "retrying" and letter.redriven_as is None:
                set_letter(
                    connection, letter, status="pending", reason=f"the run was {state.value}", failed=moment
                )


def _own_failure(letter: DeadLetter) -> datetime:
    """When what the letter is of failed itself: `failed` may be of the run that did it anew."""
    told = (letter.payload or {}).get("run_failed") if letter.redriven_as else None
    return datetime.fromisoformat(told) if told else letter.failed


def _said(row: Row, state: RunState, indexed: IndexedRun) -> str:
    error = indexed.run.error
    why = f"{row['error_type']}: {error.message}" if error else state.value
    return f"run {row['id']} did it anew and failed: {why}"


def _is_dead(state: RunState, indexed: IndexedRun) -> bool:
    # What another run has started is that run's affair: it got the failure, and made of it what it would.
    if state is RunState.TERMINATED:
        return bool(indexed.run.pending_compensations)
    return state in (RunState.FAILED, RunState.TIMED_OUT) and indexed.run.parent is None


def _run_letter(row: Row, indexed: IndexedRun, moment: datetime) -> Row:
    run = indexed.run
    payload = {
        "execution_id": run.execution_id,
        "queue": run.queue,
        "dag": indexed.dag,
        "input": [preview(given, MESSAGE_BYTES) for given in run.input[:10]],
        "step": row["error_step"],
        "open_compensations": run.pending_compensations[:100],
        "run_failed": moment.isoformat(),
        "begun_with": indexed.begun_with if _fits(indexed.begun_with) else None,
    }
    return {
        "kind": "run",
        "run_id": row["id"],
        "workflow": row["workflow"],
        "identity": bounded(f"run/{row['id']}", ID_BYTES),
        "payload": payload,
        "fingerprint": row["fingerprint"],
        "error_type": row["error_type"],
        "error_message": None if run.error is None else cut(run.error.message, MESSAGE_BYTES),
        "failed": moment,
    }


def _fits(begun_with: Mapping[str, Any]) -> bool:
    return len(json.dumps(begun_with)) <= MESSAGE_BYTES


def _compensations(row: Row, indexed: IndexedRun) -> Iterator[Row]:
    for step in indexed.run.steps:
        if step.compensates is None or step.state is not StepState.FAILED or step.closed is None:
            continue
        kind, message = (step.error.type, step.error.message) if step.error else ("", "")
        payload = {
            "step": step.name,
            "activity_id": step.activity_id,
            "compensates": step.compensates,
            "input": [preview(given, STEP_PREVIEW_BYTES) for given in step.input[:10]],
        }
        yield {
            "kind": "compensation",
            "run_id": row["id"],
            "workflow": row["workflow"],
            "identity": bounded(f"compensation/{step.activity_id}/{row['id']}", ID_BYTES),
            "fingerprint": fingerprint(kind, message, step.name),
            "error_type": bounded(kind),
            "error_message": cut(message, MESSAGE_BYTES),
            "payload": payload,
            "failed": step.closed,
        }
