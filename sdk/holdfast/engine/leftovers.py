"""What a retried run that fails has done before and not come to this time: who undoes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from temporalio import workflow

from holdfast.authoring.registry import registry
from holdfast.engine.children import MAP_WORKFLOW, child_run_id
from holdfast.engine.compensation import COMPENSATION_PREFIX, Undo
from holdfast.engine.given import GIVEN_MEMO, Entry, Given
from holdfast.engine.reuse import Reuse, marked

UndoOf = Callable[[Entry], Undo | None]
"""What undoes a call of a node; None if nothing does. Raises `LookupError` where nobody can tell."""

_UNKNOWN: Final = (
    "completed in an earlier execution, was not come to in this one, and nothing here can undo it"
)


def left_to_undo(reuse: Reuse, undo_of: UndoOf | None = None) -> tuple[list[Undo], list[str]]:
    """What undoes the calls that no call of this execution took, and that had an effect.

    Args:
        reuse: What the run was given.
        undo_of: Knows what undoes nodes. Default: the run has none.

    Returns:
        The compensations, in the order in which their calls completed, unknown outcomes last; and a sentence for each
        call of which nobody here knows how to undo it.
    """
    undos: list[Undo] = []
    unknown: list[str] = []
    for entry in sorted(reuse.given.left, key=lambda entry: (entry.result is None, entry.done_at)):
        if entry.foreign or entry.undone:
            continue
        if entry.result is None and not entry.open:
            unknown += [f"{label}: {_UNKNOWN}" for label in left_inside(entry)]
            continue
        try:
            undo = _undo(entry, reuse.restart, undo_of)
        except LookupError:
            unknown.append(f"{entry.ran_as or entry.key}: {_UNKNOWN}")
            continue
        if undo is not None:
            undo.result = entry.result
            undos.append(undo)
    return undos, unknown


def _undo(entry: Entry, restart: str | None, undo_of: UndoOf | None) -> Undo | None:
    if entry.child and entry.arguments:
        run_id = workflow.info().workflow_id
        own = f"{run_id}{entry.key}" + (f"@{restart}" if restart else "")
        undo_id = child_run_id(own if entry.key.startswith(":") else entry.key, "undo")
        mark = entry.ran_as or None
        return Undo(
            name=MAP_WORKFLOW,
            step=entry.key.lstrip(":"),
            activity_id=undo_id if mark == restart else marked(undo_id, mark),
            arguments=entry.arguments,
            queue=None,
        )
    if entry.arguments:
        step = registry().step(entry.name)
        if step is None or step.compensation is None:
            raise LookupError(entry.name)
        return Undo(
            name=step.compensation.name,
            step=step.name,
            activity_id=f"{COMPENSATION_PREFIX}{entry.ran_as}",
            arguments=entry.arguments,
            queue=step.options.queue,
        )
    if undo_of is not None:
        return undo_of(entry)
    if entry.undoable:
        raise LookupError(entry.name)
    return None


def left_inside(entry: Entry) -> Iterator[str]:
    """The calls of a child run that did not complete which have a compensation that has not run."""
    if entry.inner is None:
        return
    for inside in undoable_of(Given.of_json(entry.inner[GIVEN_MEMO]).entries):
        yield f"{entry.key.removeprefix(':')}/{inside}"


def undoable_of(entries: Iterable[Entry]) -> Iterator[str]:
    """The calls among those of one run that are to be undone if it fails, those in its children included."""
    for entry in entries:
        if entry.foreign or entry.undone:
            continue
        if entry.undoable and (entry.result is not None or entry.open):
            yield entry.ran_as if not entry.child else entry.key
        elif entry.result is None:
            yield from left_inside(entry)
