"""The calls of a node: of its step, its executor or its workflow, and those that follow from one another."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.authoring.executors import EXECUTOR
from holdfast.engine.budget import Budget
from holdfast.engine.calls import Calls
from holdfast.engine.compensation import Undo
from holdfast.engine.dag.carry import Progress
from holdfast.engine.dag.following import Chain, take_next
from holdfast.engine.dag.inside import Inside
from holdfast.engine.dag.limits import Limits
from holdfast.engine.dag.nodes import NODE
from holdfast.engine.dag.state import NodeView
from holdfast.engine.dag.step_options import node_options
from holdfast.engine.dag.subflow import call_workflow
from holdfast.engine.dag.tools import Suspended as Suspended
from holdfast.engine.dag.tools import Tools
from holdfast.engine.evaluation import Evaluation
from holdfast.engine.given import Entry
from holdfast.engine.maps.data import KEEP, KEPT_BYTES
from holdfast.engine.maps.plan import node_call
from holdfast.engine.payloads import NULL, attempts_of, list_of, take_usage
from holdfast.engine.reuse import marked
from holdfast.engine.slots import Slots
from holdfast.errors import StepFailed
from holdfast.options import StepOptions
from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.spec.names import STEP_TYPE
from holdfast.spec.templates import names as template_names
from holdfast.states import StepState

_NODE_ID = re.compile(r"\w+")
_TOOL = re.compile(r"\[[^\]\d]")


class NodeCalls:
    """Makes the calls of nodes.

    Args:
        spec: The document.
        calls: How the run calls steps.
        progress: How far the run has come.
        limits: Of this execution.
        evaluation: Where values are decoded.
        budget: Of the run.
        slots: The places of the run.
        urgency: Of each node, against others that wait for a place.
        waits: Where a node stands while it waits for a time or a person.
    """

    def __init__(
        self,
        spec: DagSpec,
        calls: Calls,
        progress: Progress,
        limits: Limits,
        *,
        evaluation: Evaluation,
        budget: Budget,
        slots: Slots,
        urgency: Mapping[str, float],
        waits: set[str],
    ) -> None:
        self._spec = spec
        self._calls = calls
        self._progress = progress
        self._limits = limits
        self._evaluation = evaluation
        self._budget = budget
        self._slots = slots
        self._urgency = urgency
        self._waits = waits
        self._inside = Inside(spec, calls, evaluation)
        self._tools = Tools(calls, self._tool_place)

    async def call(
        self, node: NodeSpec, label: str, scope: Mapping[str, Payload], view: NodeView
    ) -> Payload | None:
        """The output of a call, or of all the calls that follow from it; None when somebody skips the rest."""
        if (output := await self._inside.output(node, scope)) is not None:
            return output
        chain = self._progress.chains.get(node.id)
        if chain is not None and not await self._due(node, view):
            return None
        while True:
            if chain is not None:
                await self._tools.use(node, label, scope, chain)
            output, following = take_next(await self._once(node, label, scope, view, chain))
            if chain is None:
                if following is None:
                    return output
                chain = self._progress.chains[node.id] = Chain()
            chain.add(node.id, output, following)
            if node.loop is None:
                view.done = chain.count
            if following is None:
                return await self._chained(node, self._progress.chains.pop(node.id))
            if following.delay is not None:
                view.until = workflow.now() + following.delay
            if self._limits.full(only_waits=False):
                raise Suspended
            if not await self._due(node, view):
                return None

    async def _due(self, node: NodeSpec, view: NodeView) -> bool:
        """Wait until the next call may be made; False when somebody skips it."""
        if view.until is None:
            return True
        view.state, view.waits_for = StepState.WAITING, "the time of its next call"
        self._waits.add(node.id)
        try:
            await workflow.wait_condition(
                lambda: view.decision == "skip",
                timeout=max(view.until - workflow.now(), timedelta(0)),
                timeout_summary=f"{node.id} asks again",
            )
        except TimeoutError:
            view.until = view.waits_for = None
            view.state = StepState.RUNNING
            return True
        finally:
            self._waits.discard(node.id)
        return False

    async def _chained(self, node: NodeSpec, chain: Chain) -> Payload:
        if chain.repeats:
            return chain.outputs[-1]
        outputs = list_of(chain.outputs, node.id)
        if len(outputs.data) <= KEPT_BYTES:
            return outputs
        return await self._calls.call(
            KEEP, self._calls.numbered(f"{KEEP}:{node.id}"), [outputs], StepOptions()
        )

    async def _once(
        self,
        node: NodeSpec,
        label: str,
        scope: Mapping[str, Payload],
        view: NodeView,
        chain: Chain | None,
    ) -> Payload:
        kind = _kind(node)
        async with self._place(node, kind, view) as used:
            call_id = self._calls.numbered(label)
            # What only asks again is undone once.
            undo = None if chain is not None and chain.repeats else self._undo(node, call_id, scope)
            if node.type == "workflow":
                return await self._child(node, call_id, scope, undo, used)
            config = sent_config(node.type, node.config)
            takes = self.takes(node)
            patch = None if takes is None else {} if chain is None else chain.patch
            earlier = None if chain is None else chain.earlier
            output = await self._calls.call(
                kind,
                call_id,
                [node_call(config, scope, takes=takes, patch=patch, earlier=earlier), NULL],
                node_options(node, self._progress.steps),
                undo=undo,
                step=label,
            )
            output = take_usage(output, used)
        view.attempts = attempts_of(output)
        return output

    @asynccontextmanager
    async def _place(
        self, node: NodeSpec, kind: str, view: NodeView, *, alone: bool = True
    ) -> AsyncGenerator[dict[str, float]]:
        """A place of the run, within its budget. Yields where to put what the call uses up."""
        waits = self._slots.crowded
        if waits:
            view.waits_for = f"one of the {self._slots.count} places of max_parallel"
        async with self._slots.hold(self._urgency[node.id]):
            if waits and self._limits.closing:
                raise Suspended  # nothing has begun: it waits on in the next execution
            await self._admitted(node, kind, view, alone=alone)
            with self._budget.hold(kind) as used:
                yield used

    def _tool_place(self, node: NodeSpec, kind: str) -> AbstractAsyncContextManager[dict[str, float]]:
        return self._place(node, kind, self._progress.view.nodes[node.id], alone=False)

    async def _admitted(self, node: NodeSpec, kind: str, view: NodeView, *, alone: bool) -> None:
        if self._calls.is_held:
            view.waits_for = "the run to be resumed"
            await self._calls.held()
        if self._budget.lacks(kind):
            view.waits_for = "the budget"
            if alone:  # else the node may have calls under way, which are not to be cut off
                self._waits.add(node.id)
            try:
                await self._budget.admit(kind, f"node {node.id!r}")
            finally:
                self._waits.discard(node.id)
        view.waits_for = None

    async def _child(
        self,
        node: NodeSpec,
        label: str,
        scope: Mapping[str, Payload],
        undo: Undo | None,
        used: dict[str, float],
    ) -> Payload:
        seconds = node.timeout.total_seconds() if node.timeout else None
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await call_workflow(
                    self._calls,
                    node.config,
                    scope,
                    label=label,
                    undo=undo,
                    used=used,
                    evaluation=self._evaluation,
                    steps=self._progress.steps,
                )
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise StepFailed(
                f"the workflow of {node.id!r} took longer than {node.timeout}",
                step=node.id,
                error_type="TimeoutError",
            ) from exc

    def takes(self, node: NodeSpec) -> Sequence[str] | None:
        """The outputs that a node's executor gets as its input: of all that it depends on."""
        return None if node.type in (STEP_TYPE, "workflow") else self._spec.dependencies[node.id]

    def _undo(self, node: NodeSpec, call_id: str, scope: Mapping[str, Payload]) -> Undo | None:
        if node.compensate is None:
            return None
        undo = node.compensate
        return Undo(
            name=activity_of(undo.type, undo.config),
            step=str(node.config.get("step", node.id)),
            activity_id=f"compensate:{call_id}",
            arguments=[node_call(sent_config(undo.type, undo.config), scope, own=node.id)],
            queue=None,
            caller=asyncio.current_task(),
        )

    def undo_of(self, entry: Entry, scope: Mapping[str, Payload]) -> Undo | None:
        """What undoes a call that an earlier execution has made and this one did not come to.

        Args:
            entry: The call.
            scope: The outputs that are there.

        Raises:
            LookupError: It is one of many of its node, or names outputs that are not there.
        """
        label = entry.key.removeprefix(":")
        named = _NODE_ID.match(label)
        node = self._spec.by_id.get(named[0]) if named else None
        if node is None or node.compensate is None:
            if entry.undoable and (node is None or _TOOL.search(label)):
                raise LookupError(label)
            return None
        undo = node.compensate
        names = template_names(sent_config(undo.type, undo.config)) - {node.id}
        if label != node.id or node.loop or any(not scope.get(name, NULL).metadata for name in names):
            raise LookupError(label)
        if not entry.child:
            return self._undo(node, entry.ran_as, scope)
        found, mark = self._undo(node, self._calls.own(label), scope), entry.ran_as or None
        if found is not None and mark != self._calls.restart:
            found.activity_id = marked(found.activity_id, mark)
        return found


def _kind(node: NodeSpec) -> str:
    """What a budget counts as one kind of call."""
    if node.type != "workflow":
        return activity_of(node.type, node.config)
    named = node.config["workflow"]
    return f"workflow:{named if isinstance(named, str) else node.id}"


def activity_of(kind: str, config: Mapping[str, Any]) -> str:
    """The type of the activity that a node, or what undoes it, is."""
    return f"{NODE}{config['step']}" if kind == STEP_TYPE else f"{EXECUTOR}{kind}"


def sent_config(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config goes to the worker, with its templates."""
    return {"arguments": config.get("arguments", {})} if kind == STEP_TYPE else {"config": dict(config)}
