"""A row of frames as a player wants it: with the boxes of which no event tells, and not too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.client.frames import Frame, FrameChange, FrameItem
from holdfast.engine.history.labels import worst
from holdfast.spec.diagram.graph import DiagramGraph
from holdfast.states import StepState


def with_silent_boxes(frames: list[Frame], items: Sequence[FrameItem], graph: DiagramGraph) -> list[Frame]:
    """Boxes of which no event tells: they have their state when what follows them begins, or at the end."""
    first: dict[str, int] = {}
    states: dict[str, dict[int, StepState]] = {}
    for index, frame in enumerate(frames):
        for change in frame.changes:
            box = items[change.item].node if change.item is not None else None
            if box is not None and change.item is not None:
                first.setdefault(box, index)
                of_box = states.setdefault(box, {})
                of_box.pop(change.item, None)  # the latest change comes last
                of_box[change.item] = change.state
    after: dict[str, list[str]] = {}
    for edge in graph.edges:
        after.setdefault(edge.source, []).append(edge.target)
    changes: dict[int, list[FrameChange]] = {}
    for node in graph.nodes:
        if node.state is None or node.kind == "join" or state_of_box(states.get(node.id, {})) is node.state:
            continue
        index = len(frames) - 1
        if node.id not in first:
            index = min((first.get(target, index) for target in _behind(node.id, after)), default=index)
        changes.setdefault(index, []).append(FrameChange(node=node.id, state=node.state))
    return [
        replace(frame, changes=(*frame.changes, *changes[index])) if index in changes else frame
        for index, frame in enumerate(frames)
    ]


def state_of_box(states: Mapping[int, StepState]) -> StepState | None:
    """The state of a box by those of its items, the latest change last: what is open counts before what has ended."""
    is_open = [state for state in states.values() if not state.closed]
    return worst(is_open) or (list(states.values())[-1] if states else None)


def _behind(node: str, after: Mapping[str, Sequence[str]]) -> set[str]:
    """The boxes to which arrows lead from a box, directly or not."""
    todo, found = [node], set[str]()
    while todo:
        new = [target for target in after.get(todo.pop(), ()) if target not in found]
        found.update(new)
        todo += new
    return found


def merged(frames: list[Frame], max_frames: int) -> list[Frame]:
    """At most so many frames; of each group of neighbours the last one stays, with all their changes."""
    if len(frames) <= max_frames:
        return frames
    size = -(-(len(frames) - 1) // (max_frames - 1))
    groups = [frames[:1], *(frames[at : at + size] for at in range(1, len(frames), size))]
    return [replace(group[-1], changes=_latest(group), merged_count=len(group) - 1) for group in groups]


def _latest(group: Sequence[Frame]) -> tuple[FrameChange, ...]:
    found = {(change.item, change.node): change for frame in group for change in frame.changes}
    return tuple(found.values())
