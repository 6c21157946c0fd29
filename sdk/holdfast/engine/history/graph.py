"""A picture of what a run did, from its history alone: any history, of any SDK, whatever its ids and payloads.

The boxes are activities, local activities, timers, child runs and waits for messages. Temporal does not record what
waited for what, so the arrows are inferred:

- Workflow code moves in turns: a workflow task tells it what has ended (in the order of the events), and it answers
  with new calls. A local activity also begins a turn when it ends, inside the task; its worker's clock says in which
  turn it was scheduled.
- What has ended, and has led to nothing yet, is an *open end*. A turn's calls follow from what ended in it, and join
  all other open ends: three steps gathered and one after them make a diamond.
- An argument that holds a value from the result of another call (all of it, or a distinct part of it, that nothing
  else showed before) says which call it follows; open ends that it does not name stay open. So parallel chains stay
  chains.
- A call of a kind that was seen before, without doubt, to follow one end of another kind does so again.
- Where a turn has as many new ends as new calls and no older open ends, they are paired in order, since coroutines go
  on in the order of the events.
- A signal or an update that alone moved the run on is a wait, which joined all open ends. Runs of Holdfast record
  their waits. A child's start moves the run on only where nothing else did.

So an arrow never contradicts the history: what it leaves had ended before the other was called. What can be wrong:
code that gathers and then uses only part of what it gathered, or two chains that take turns without passing on data,
may show an arrow too many or too few, and an update that arrives together with the end of a step is taken for no
wait. Encrypted payloads and results of a few bytes give no evidence, and neither do arguments of local activities,
which no history has. Timers that only limited something else, and were cancelled, are left out. Local activities are
read as the SDKs built on Temporal's core record them (Python, TypeScript, .NET, Ruby).

More than three calls that do the same and follow the same become one box with a count and the worst of their states,
at every depth of parallel chains; so do more than eight in a row, rounds such as *check, sleep, check, sleep*, and,
in a picture of more than a hundred boxes, all calls that do the same. Reading is linear in the events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from holdfast.client.description import RunDescription
from holdfast.engine.history.calls import Call
from holdfast.engine.history.causes import infer
from holdfast.engine.history.labels import States, detail, took, worst
from holdfast.engine.history.payloads import Opened
from holdfast.engine.history.sketch import Sketch
from holdfast.engine.history.turns import read_calls
from holdfast.spec.diagram.graph import DiagramEdge, DiagramGraph, DiagramNode

_MAX_ARROWS: Final = 36
"""More arrows than these between boxes that all follow the same go through one small box."""


def graph_of_events(
    events: Iterable[HistoryEvent], *, description: RunDescription | None = None, opened: Opened | None = None
) -> DiagramGraph:
    """The picture of a run.

    Args:
        events: The events of one execution, or of several that continue each other, from the first on.
        description: What the server says of the run: the attempts and states of steps that are open.
        opened: The payloads that a codec had to open; without it, encoded ones give no evidence.
    """
    opened = opened or Opened()
    found = read_calls(events, opened)
    calls = infer(found, opened)
    states = States(calls, description)
    sketch = Sketch.of(calls)
    ids = box_ids(sketch)
    nodes = [_node(ids[box], members, states) for box, members in sketch.boxes.items()]
    joins, edges = _through_joins(sketch, ids)
    labels = {
        (ids[source], ids[target]): found.begins[execution]
        for source, target in sketch.edges
        if (execution := sketch.boxes[target][0].execution) > sketch.boxes[source][-1].execution
    }
    state = f" {description.state.value}" if description else ""
    return DiagramGraph(
        nodes=(*nodes, *joins),
        edges=tuple(
            DiagramEdge(source=source, target=target, label=labels.get((source, target), ""))
            for source, target in edges
        ),
        title=f"{found.workflow}{state}",
    )


def _node(box_id: str, calls: Sequence[Call], states: States) -> DiagramNode:
    counts = Counter(states.state(call) for call in calls)
    first, labels = calls[0], {call.label for call in calls}
    span = took([call.started or call.scheduled for call in calls], [call.closed for call in calls])
    return DiagramNode(
        id=box_id,
        label=first.label if len(labels) == 1 else "sleep",  # only timers without a name differ
        kind=first.kind,
        state=worst(counts),
        count=len(calls) if len(calls) > 1 else None,
        detail=detail(
            counts,
            sum(map(states.attempts, calls)),
            None if first.kind == "timer" else span,
            next((states.error(call) for call in calls if call.failure is not None), ""),
        ),
    )


def box_ids(sketch: Sketch) -> dict[int, str]:
    """A name for each box that says which one it is: the activity id where that begins with the step's name."""
    counts: Counter[str] = Counter()
    ids: dict[int, str] = {}
    taken: set[str] = set()
    for box, calls in sketch.boxes.items():
        call = calls[0]
        counts[call.label] += 1
        own = call.name if call.kind == "step" and call.name.startswith(call.label) else ""
        name = own or (call.label if counts[call.label] == 1 else f"{call.label}-{counts[call.label]}")
        while name in taken:
            name = f"{name}'"
        taken.add(name)
        ids[box] = name
    return ids


def _through_joins(sketch: Sketch, ids: Mapping[int, str]) -> tuple[list[DiagramNode], list[tuple[str, str]]]:
    """The arrows. Where many boxes follow the same many, all arrows go through one small box between them."""
    before: dict[int, list[int]] = {}
    for source, target in sorted(sketch.edges):
        before.setdefault(target, []).append(source)
    alike: dict[tuple[int, ...], list[int]] = {}
    for target, sources in before.items():
        alike.setdefault(tuple(sources), []).append(target)
    joins: list[DiagramNode] = []
    edges: list[tuple[str, str]] = []
    for shared, targets in alike.items():
        if len(shared) > 1 and len(targets) > 1 and len(shared) * len(targets) > _MAX_ARROWS:
            join = DiagramNode(id=f"all {len(shared)} before {ids[targets[0]]}", label="all", kind="join")
            joins.append(join)
            edges += [(ids[source], join.id) for source in shared]
            edges += [(join.id, ids[target]) for target in targets]
        else:
            edges += [(ids[source], ids[target]) for source in shared for target in targets]
    return joins, edges
