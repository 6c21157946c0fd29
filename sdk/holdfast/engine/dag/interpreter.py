"""Runs a `DagSpec`: a node starts the moment what it depends on has ended, never level by level."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.authoring.registry import registry
from holdfast.authoring.waits import Decision
from holdfast.engine.calls import Calls
from holdfast.engine.compensation import Undo
from holdfast.engine.dag.config import bind_input, map_items, step_options, switch_ids, timer_seconds
from holdfast.engine.dag.nodes import EVALUATE, NODE
from holdfast.engine.dag.state import DagView, NodeView, Skip
from holdfast.engine.dag.values import NULL, as_payload, has_refs, list_of, object_of
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.waiting import Waiting
from holdfast.errors import InvalidInput, StepFailed
from holdfast.options import StepOptions
from holdfast.spec.expressions import Expression, compile
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, LoopSpec, MapSpec, NodeSpec, switch_targets
from holdfast.spec.templates import names as template_names
from holdfast.states import StepState

_TYPES = ("step", "workflow", "switch", "wait", "approval", "timer")

MAX_ITEMS = 500
"""Items of one map in one run."""


class Interpreter:
    """One run of a DAG.

    Args:
        spec: The document, pinned at the start.
        input: The run's input.
        calls: How the run calls steps.
        waiting: How the run waits for messages and people.
    """

    def __init__(self, spec: DagSpec, input: Payload, calls: Calls, waiting: Waiting) -> None:
        self.spec = spec
        self.view = DagView(dag=spec.name, nodes={node.id: NodeView() for node in spec.nodes})
        self._calls = calls
        self._waiting = waiting
        self._graph = Graph.of(spec)
        self._outputs: dict[str, Payload] = {}
        self._values: dict[str, Payload] = {"input": input, "variables": as_payload(spec.variables)}
        self._decoded: dict[str, Any] = {}
        self._chosen: dict[str, frozenset[str]] = {}
        self._open = asyncio.Semaphore(spec.options.max_parallel)

    async def run(self) -> Payload:
        """Run every node and return the result.

        Raises:
            StepFailed, InvalidInput: A node failed the run.
        """
        self._refuse_what_cannot_run()
        waiting_for = {node.id: len(self.spec.dependencies[node.id]) for node in self.spec.nodes}
        dependents: dict[str, list[str]] = {node.id: [] for node in self.spec.nodes}
        for node_id, sources in self.spec.dependencies.items():
            for source in sources:
                dependents[source].append(node_id)
        running: dict[asyncio.Task[None], str] = {}

        def start(node_id: str) -> None:
            running[asyncio.create_task(self._node(self.spec.by_id[node_id]), name=node_id)] = node_id

        for node_id, count in waiting_for.items():
            if count == 0:
                start(node_id)
        try:
            while running:
                done, _ = await workflow.wait(list(running), return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    node_id = running.pop(task)
                    task.result()
                    for dependent in dependents[node_id]:
                        waiting_for[dependent] -= 1
                        if waiting_for[dependent] == 0:
                            start(dependent)
        finally:
            for task in running:
                task.cancel()
            if running:
                await workflow.wait(list(running))
        return await self._result()

    def _refuse_what_cannot_run(self) -> None:
        """Before anything runs, rather than when a run comes to it."""
        if self.spec.options.budget is not None:
            raise InvalidInput(
                f"dag {self.spec.name!r} has a budget, and nothing keeps to one yet: take it out"
            )
        for node in self.spec.nodes:
            if node.type not in _TYPES:
                raise InvalidInput(
                    f"node {node.id!r} is of type {node.type!r}, which no worker runs; there are: {', '.join(_TYPES)}"
                )
            for field in ("schema", "form"):
                if field in node.config:
                    raise InvalidInput(f"node {node.id!r}: {field!r} is not checked yet: take it out")

    async def _result(self) -> Payload:
        if self.spec.output is not None:
            return as_payload(await self._evaluate(compile(self.spec.output), {}))
        leaves = {node_id: self._outputs[node_id] for node_id in self._graph.leaves}
        return next(iter(leaves.values())) if len(leaves) == 1 else object_of(leaves)

    async def _node(self, node: NodeSpec) -> None:
        view = self.view.nodes[node.id]
        skip = self._inherited_skip(node)
        if skip is None and node.when is not None and not await self._condition(node.when, {}):
            if node.when_unmet == "fail":
                self._failed(view, f"its condition {node.when!r} is false")
                raise InvalidInput(f"node {node.id!r} may not run: its condition {node.when!r} is false")
            skip = "cascade" if node.when_unmet == "skip_cascade" else "node"
        if skip is not None:
            self._skip(node, skip)
            return
        async with self._open if node.map is None else _Unbounded():
            view.state, view.started = StepState.RUNNING, workflow.now()
            try:
                output = await self._finish(node, view)
            except asyncio.CancelledError:
                view.state, view.closed = StepState.CANCELLED, workflow.now()
                raise
        if output is None:
            self._skip(node, "cascade" if node.when_exhausted == "skip_cascade" else "node")
            return
        self._outputs[node.id] = output
        view.state, view.closed = StepState.COMPLETED, workflow.now()

    async def _finish(self, node: NodeSpec, view: NodeView) -> Payload | None:
        """Do a node's work until it succeeds, or somebody decides otherwise; None when it is skipped."""
        while True:
            try:
                return await self._work(node, view)
            except (StepFailed, InvalidInput) as exc:
                self._failed(view, str(exc))
                if node.when_exhausted != "fail":
                    return None
                if self.spec.options.on_failure == "fail":
                    self._calls.compensations.forget()
                if self.spec.options.on_failure != "pause":
                    raise
            await workflow.wait_condition(lambda: view.decision is not None)
            decision, view.decision = view.decision, None
            if decision == "skip":
                return None
            view.state, view.error, view.closed, view.done = StepState.RUNNING, None, None, 0

    def _inherited_skip(self, node: NodeSpec) -> Skip | None:
        sources = self.spec.dependencies[node.id]
        skips = [self.view.nodes[source].skipped_as for source in sources]
        if "cascade" in skips:
            return "cascade"
        for source in sources:
            chosen = self._chosen.get(source)
            if (
                chosen is not None
                and node.id in switch_targets(self.spec.by_id[source])
                and node.id not in chosen
            ):
                return "branch"
        # What only the ways lead to that were not chosen is not reached; where ways join again, one suffices.
        return "branch" if skips and all(skip == "branch" for skip in skips) else None

    def _skip(self, node: NodeSpec, skip: Skip) -> None:
        view = self.view.nodes[node.id]
        view.state, view.skipped_as, view.closed = StepState.SKIPPED, skip, workflow.now()
        self._outputs[node.id] = NULL

    def _failed(self, view: NodeView, error: str) -> None:
        view.state, view.error, view.closed = StepState.FAILED, error, workflow.now()

    async def _work(self, node: NodeSpec, view: NodeView) -> Payload:
        match node.type:
            case "switch":
                return await self._switch(node)
            case "wait" | "approval" | "timer":
                view.state = StepState.WAITING
                return await self._wait(node)
            case _:
                if node.map is not None:
                    return await self._map(node, node.map, view)
                if node.loop is not None:
                    return await self._loop(node, node.loop, view)
                return await self._call(node, node.id, {})

    async def _switch(self, node: NodeSpec) -> Payload:
        cases: Sequence[Any] = node.config["cases"]  # type: ignore[assignment]
        for case in cases:
            if await self._condition(str(case["when"]), {}):
                chosen = switch_ids(case["to"])
                break
        else:
            chosen = switch_ids(node.config.get("default", []))
        self._chosen[node.id] = frozenset(chosen)
        return as_payload(chosen)

    async def _wait(self, node: NodeSpec) -> Payload:
        if node.type == "timer":
            await asyncio.sleep(timer_seconds(node.config))
            return NULL
        if node.type == "approval":
            name = str(node.config.get("name", node.id))
            answer = await self._waiting.approval(str(node.config["prompt"]), Decision, node.timeout, name)
        else:
            answer = await self._waiting.wait_for(str(node.config["event"]), Any, node.timeout)
        return encode_argument(answer, workflow.payload_converter(), where=f"The answer to {node.id!r}")

    async def _map(self, node: NodeSpec, spec: MapSpec, view: NodeView) -> Payload:
        items = map_items(await self._evaluate(compile(spec.over), {}), node.id)
        if len(items) > MAX_ITEMS:
            raise InvalidInput(
                f"map.over of node {node.id!r} has {len(items)} items; at most {MAX_ITEMS} are run"
            )
        view.total = len(items)
        places = asyncio.Semaphore(spec.concurrency)

        async def one(index: int, item: Any) -> Payload:
            async with places, self._open:
                local = {spec.item_name: as_payload(item), "index": as_payload(index)}
                try:
                    output = await self._call(node, f"{node.id}[{index}]", local)
                except StepFailed:
                    if spec.on_error == "fail_fast":
                        raise
                    output = NULL
                view.done += 1
                return output

        tasks = [asyncio.create_task(one(index, item)) for index, item in enumerate(items)]
        try:
            return list_of(await asyncio.gather(*tasks), node.id)
        finally:
            for task in tasks:
                task.cancel()

    async def _loop(self, node: NodeSpec, spec: LoopSpec, view: NodeView) -> Payload:
        condition, output = compile(spec.while_), NULL
        for iteration in range(1, spec.max_iterations + 1):
            local = {node.id: output, "iteration": as_payload(iteration - 1)}
            output = await self._call(node, f"{node.id}[{iteration}]", local)
            view.done = iteration
            local = {node.id: output, "iteration": as_payload(iteration)}
            if not condition.as_bool(await self._evaluate(condition, local)):
                return output
        raise InvalidInput(f"node {node.id!r}: its loop still went on after {spec.max_iterations} runs")

    async def _call(self, node: NodeSpec, call_id: str, local: Mapping[str, Payload]) -> Payload:
        if node.type == "workflow":
            return await self._child(node, local)
        arguments: Any = node.config.get("arguments", {})
        name = str(node.config["step"])
        return await self._calls.call(
            f"{NODE}{name}",
            self._numbered(call_id),
            [self._call_payload(arguments, local, own=None), NULL],
            step_options(node),
            undo=self._undo(node, name, call_id, local),
            step=call_id,
        )

    async def _child(self, node: NodeSpec, local: Mapping[str, Payload]) -> Payload:
        name = str(node.config["workflow"])
        known = registry().workflows()
        if name not in known:
            raise InvalidInput(
                f"node {node.id!r}: this worker has no workflow {name!r}; it has: {', '.join(known) or 'none'}"
            )
        rendered = await self._render({key: node.config.get(key) for key in ("input", "id")}, local)
        child = known[name].with_options(
            id=rendered["id"], queue=str(node.config.get("queue", known[name].options.queue))
        )
        result = await self._calls.call_child(child, bind_input(child, rendered["input"]))
        return encode_argument(result, workflow.payload_converter(), where=f"The output of {node.id!r}")

    def _numbered(self, call_id: str) -> str:
        """A retried node is another call than the one that failed."""
        self._calls.ordinals[call_id] += 1
        count = self._calls.ordinals[call_id]
        return self._calls.own(call_id if count == 1 else f"{call_id}-{count}")

    def _call_payload(self, arguments: Any, local: Mapping[str, Payload], *, own: str | None) -> Payload:
        names = template_names(arguments) - ({own} if own else set())
        values = object_of({name: self._value(name, local) for name in sorted(names)})
        return object_of({"arguments": as_payload(arguments), "values": values, "own": as_payload(own)})

    def _undo(self, node: NodeSpec, step: str, call_id: str, local: Mapping[str, Payload]) -> Undo | None:
        if node.compensate is None:
            return None
        config: Any = node.compensate.config
        return Undo(
            name=f"{NODE}{config['step']}",
            step=step,
            activity_id=f"compensate:{call_id}",
            arguments=[self._call_payload(config.get("arguments", {}), local, own=node.id)],
            queue=None,
            caller=asyncio.current_task(),
        )

    def _value(self, name: str, local: Mapping[str, Payload]) -> Payload:
        for where in (local, self._outputs, self._values):
            if name in where:
                return where[name]
        raise InvalidInput(f"{name!r} has no value here")

    async def _condition(self, text: str, local: Mapping[str, Payload]) -> bool:
        expression = compile(text)
        return expression.as_bool(await self._evaluate(expression, local))

    async def _evaluate(self, expression: Expression, local: Mapping[str, Payload]) -> Any:
        payloads = {name: self._value(name, local) for name in sorted(expression.names)}
        if not any(has_refs(payload) for payload in payloads.values()):
            values = {name: self._decode(name, payload, local) for name, payload in payloads.items()}
            if not expression.cost(values).needs_child:
                return expression.evaluate(values)
        return await self._in_step({"expression": as_payload(expression.text), "values": object_of(payloads)})

    async def _render(self, config: Mapping[str, Any], local: Mapping[str, Payload]) -> Any:
        names = template_names(config)
        if not names:
            return config
        values = object_of({name: self._value(name, local) for name in sorted(names)})
        return await self._in_step({"config": as_payload(config), "values": values})

    async def _in_step(self, call: Mapping[str, Payload]) -> Any:
        self._calls.ordinals[EVALUATE] += 1
        call_id = f"{EVALUATE}-{self._calls.ordinals[EVALUATE]}"
        result = await self._calls.call(EVALUATE, call_id, [object_of(call)], StepOptions())
        return self._decode("", result, {"": result})

    def _decode(self, name: str, payload: Payload, local: Mapping[str, Payload]) -> Any:
        if name not in local and name in self._decoded:
            return self._decoded[name]
        where = f"The value of {name!r}"
        value = decode_in_workflow(payload, make_adapter(Any), workflow.payload_converter(), where=where)
        if name not in local:
            self._decoded[name] = value
        return value


class _Unbounded:
    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None
