"""What a node does: call a step or an executor, choose, wait, map, loop, or run another workflow."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.authoring.waits import Decision
from holdfast.engine.budget import Budget
from holdfast.engine.calls import Calls
from holdfast.engine.compensation import Undo
from holdfast.engine.dag.calling import NodeCalls, Suspended, activity_of, sent_config
from holdfast.engine.dag.carry import Progress
from holdfast.engine.dag.config import map_items, schema_type, switch_ids, timer_duration
from holdfast.engine.dag.limits import Limits
from holdfast.engine.dag.state import NodeView
from holdfast.engine.dag.step_options import node_options
from holdfast.engine.data.in_workflow import encode_argument
from holdfast.engine.data.refs import Ref
from holdfast.engine.ending import ended
from holdfast.engine.evaluation import Evaluation
from holdfast.engine.given import Entry
from holdfast.engine.maps.data import CUT
from holdfast.engine.maps.mapper import Mapper
from holdfast.engine.maps.plan import MapPlan
from holdfast.engine.payloads import NULL, as_payload, object_of, plain
from holdfast.engine.slots import Slots
from holdfast.engine.waiting import Waiting
from holdfast.errors import InvalidInput
from holdfast.options import StepOptions
from holdfast.spec.check_constants import MAX_ITEMS
from holdfast.spec.expressions import Expression, compile
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, LoopSpec, MapSpec, NodeSpec
from holdfast.states import StepState

WAITS = frozenset({"wait", "approval", "timer"})


class Chunks(NamedTuple):
    """A list in the storage: how long it is, and for each part its length and the part or a Ref to it."""

    total: int
    chunks: Sequence[Sequence[Any]]


class Work:
    """Does the work of nodes.

    Args:
        spec: The document.
        graph: Its nodes and edges.
        input: The run's input.
        calls: How the run calls steps.
        waiting: How the run waits for messages and people.
        progress: How far the run has come.
        limits: Of this execution.

    Attributes:
        waits: The nodes that wait for a message, a person or a time.
        urgency: How many nodes follow each one, itself included, on the longest way.
    """

    def __init__(
        self,
        spec: DagSpec,
        graph: Graph,
        input: Payload,
        calls: Calls,
        waiting: Waiting,
        progress: Progress,
        limits: Limits,
    ) -> None:
        self.waits: set[str] = set()
        self._spec = spec
        self._calls = calls
        self._waiting = waiting
        self._progress = progress
        self._limits = limits
        self._evaluation = Evaluation(calls)
        self._slots = Slots(spec.options.max_parallel)
        view = progress.view
        self._budget = Budget(spec.options.budget, view.usage, view.budget, waiting)
        # What many others wait for goes first.
        self.urgency = graph.remaining(dict.fromkeys(spec.by_id, 1.0))
        self._node_calls = NodeCalls(
            spec,
            calls,
            progress,
            limits,
            evaluation=self._evaluation,
            budget=self._budget,
            slots=self._slots,
            urgency=self.urgency,
            waits=self.waits,
        )
        self._values: dict[str, Payload] = {"input": input, "variables": as_payload(spec.variables)}
        self._mappers: dict[str, Mapper] = {}

    async def do(self, node: NodeSpec, view: NodeView) -> Payload | None:
        """The output of a node; None when somebody skips it while it waits.

        Raises:
            GiveUp, InvalidInput, WaitTimeout: It failed.
            Suspended: It goes on in the next execution.
        """
        if node.type == "switch":
            return await self._switch(node)
        if node.type in WAITS:
            return await self._wait(node, view)
        if node.map is not None:
            return await self._map(node, node.map, view)
        if node.loop is not None:
            return await self._loop(node, node.loop, view)
        return await self._node_calls.call(node, node.id, self._scope({}), view)

    def undo_of(self, entry: Entry) -> Undo | None:
        """What undoes a call of an earlier execution; see `NodeCalls.undo_of`."""
        return self._node_calls.undo_of(entry, self._scope({}))

    def _scope(self, local: dict[str, Payload]) -> ChainMap[str, Payload]:
        return ChainMap(local, self._progress.outputs, self._values)

    async def evaluate(self, text: str) -> Any:
        """The value of an expression over the outputs so far.

        Raises:
            InvalidInput, StepFailed: It has none.
        """
        return await self._evaluation.evaluate(compile(text), self._scope({}))

    async def condition(self, text: str) -> bool:
        """The value of a condition over the outputs so far.

        Raises:
            InvalidInput, StepFailed: It has none, or it is no boolean.
        """
        return compile(text).as_bool(await self.evaluate(text))

    # Choices and waits

    async def _switch(self, node: NodeSpec) -> Payload:
        cases: Sequence[Any] = node.config["cases"]  # type: ignore[assignment]
        for case in cases:
            if await self.condition(str(case["when"])):
                chosen = switch_ids(case["to"])
                break
        else:
            chosen = switch_ids(node.config.get("default", []))
        self._progress.chosen[node.id] = frozenset(chosen)
        return as_payload(chosen)

    async def _wait(self, node: NodeSpec, view: NodeView) -> Payload | None:
        config = await self._evaluation.render(node.config, self._scope({}))
        if view.until is None:
            wait = timer_duration(config) if node.type == "timer" else node.timeout
            view.until = workflow.now() + wait if wait is not None else None
        view.state = StepState.WAITING
        self.waits.add(node.id)
        answer = asyncio.create_task(self._answer(node, config, view))
        skipped = asyncio.create_task(workflow.wait_condition(lambda: view.decision == "skip"))
        try:
            await workflow.wait([answer, skipped], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await ended([answer, skipped])
            raise
        finally:
            self.waits.discard(node.id)
        answered = answer.done()
        await ended([answer, skipped])
        return answer.result() if answered else None

    async def _answer(self, node: NodeSpec, config: Mapping[str, Any], view: NodeView) -> Payload:
        left = max(view.until - workflow.now(), timedelta(0)) if view.until else None
        if node.type == "timer":
            view.waits_for = "its time"
            if left:
                await workflow.sleep(left, summary=node.title)
            return NULL
        if node.type == "approval":
            name = str(config.get("name", node.id))
            view.waits_for = f"the decision {name!r}"
            form = schema_type(config["form"]) if "form" in config else Decision
            answer = await self._waiting.approval(str(config["prompt"]), form, left, name)
        else:
            view.waits_for = f"the message {config['event']!r}"
            hint = schema_type(config["schema"]) if "schema" in config else Any
            answer = await self._waiting.wait_for(str(config["event"]), hint, left)
        return encode_argument(answer, workflow.payload_converter(), where=f"The answer to {node.id!r}")

    # Maps and loops

    async def _map(self, node: NodeSpec, spec: MapSpec, view: NodeView) -> Payload:
        mapper = self._mappers.get(node.id)
        if mapper is None:
            mapper = self._mappers[node.id] = self._mapper(node, spec, view)
        over = await self._over(compile(spec.over), mapper)
        items = over.chunks if isinstance(over, Chunks) else map_items(over, node.id)
        view.total = over.total if isinstance(over, Chunks) else len(items)
        calls = mapper.calls_of(view.total)
        if not mapper.done and not self._limits.fits(calls):
            raise Suspended
        self._limits.expected[node.id] = calls
        try:
            output = await (mapper.run_chunks(items) if isinstance(over, Chunks) else mapper.run(items))
        finally:
            view.failed = len(mapper.failed)
            del self._limits.expected[node.id]
        return output

    async def _over(self, expression: Expression, mapper: Mapper) -> Any:
        """What a map goes over; in chunks where it is too large to be looked at here."""
        scope = self._scope({})
        if expression.text in expression.names and expression.text in scope:
            value = self._evaluation.decode(scope[expression.text], expression.text)
            if not isinstance(value, Ref):
                return value
        elif self._evaluation.is_light(expression, scope):
            return await self._evaluation.evaluate(expression, scope)
        asked = {
            "expression": as_payload(expression.text),
            "values": object_of({name: scope[name] for name in sorted(expression.names) if name in scope}),
            "size": as_payload(mapper.leaf_items),
            "most": as_payload(MAX_ITEMS),
        }
        call_id = self._calls.numbered(f"{CUT}:{mapper.plan.label}")
        found = await self._calls.call(CUT, call_id, [object_of(asked)], StepOptions())
        cut = plain(found, f"The items of {mapper.plan.label!r}")
        return cut["over"] if "over" in cut else Chunks(cut["total"], cut["chunks"])

    def _mapper(self, node: NodeSpec, spec: MapSpec, view: NodeView) -> Mapper:
        plan = MapPlan(
            activity=None if node.type == "workflow" else activity_of(node.type, node.config),
            label=node.id,
            step=str(node.config.get("step", node.id)),
            options=node_options(node, self._progress.steps),
            concurrency=min(spec.concurrency, self._spec.options.max_parallel),
            on_error=spec.on_error,
            config=dict(node.config) if node.type == "workflow" else sent_config(node.type, node.config),
            takes=self._node_calls.takes(node),
            item_name=spec.item_name,
            resumed=self._spec.options.on_failure == "pause",
            undo=_undo_plan(node),
        )

        def progress(done: int) -> None:
            view.done = done
            if view.total:
                self._limits.expected[node.id] = (
                    mapper.calls_of(view.total) * (view.total - done) // view.total
                )

        mapper = Mapper(
            self._calls,
            plan,
            self._scope({}),
            budget=self._budget,
            slots=self._slots,
            urgency=self.urgency[node.id],
            progress=progress,
        )
        return mapper

    async def _loop(self, node: NodeSpec, spec: LoopSpec, view: NodeView) -> Payload | None:
        condition = compile(spec.while_)
        while True:
            last = self._progress.rounds.get(node.id, NULL)
            local = {node.id: last, "iteration": as_payload(view.done)}
            if view.done:
                if not await self._evaluation.condition(condition, self._scope(local)):
                    return last
                if view.done >= spec.max_iterations:
                    raise InvalidInput(
                        f"node {node.id!r}: its loop still went on after {spec.max_iterations} runs"
                    )
                if self._limits.full(only_waits=False):
                    raise Suspended
            label = f"{node.id}[{view.done + 1}]"
            output = await self._node_calls.call(node, label, self._scope(local), view)
            if output is None:
                return None
            self._progress.rounds[node.id] = output
            view.done += 1


def _undo_plan(node: NodeSpec) -> dict[str, Any] | None:
    undo = node.compensate
    if undo is None:
        return None
    return {
        "activity": activity_of(undo.type, undo.config),
        "config": sent_config(undo.type, undo.config),
        "own": node.id,
    }
