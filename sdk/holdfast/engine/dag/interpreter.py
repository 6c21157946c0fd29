"""Runs a `DagSpec`: a node starts the moment what it depends on has ended, never level by level."""

from __future__ import annotations

import asyncio
import difflib
from collections import deque

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.authoring.registry import registry
from holdfast.engine.calls import Calls
from holdfast.engine.dag.calling import Suspended
from holdfast.engine.dag.carry import Progress
from holdfast.engine.dag.limits import Limits
from holdfast.engine.dag.state import DagView, NodeView, Skip
from holdfast.engine.dag.step_options import FIND_STEPS, step_names
from holdfast.engine.dag.work import Work
from holdfast.engine.data.values import is_object
from holdfast.engine.ending import ended
from holdfast.engine.payloads import NULL, as_payload, object_of, plain
from holdfast.engine.waiting import Waiting
from holdfast.errors import BudgetExceeded, GiveUp, InvalidInput, WaitTimeout
from holdfast.options import StepOptions
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, NodeSpec, switch_targets
from holdfast.spec.names import CONTROL_TYPES, STEP_TYPE
from holdfast.states import StepState


class Interpreter:
    """One execution of a run of a DAG.

    Args:
        spec: The document, pinned at the start.
        input: The run's input.
        calls: How the run calls steps.
        waiting: How the run waits for messages and people.
        carried: What the execution before this one took along.
    """

    def __init__(
        self, spec: DagSpec, input: Payload, calls: Calls, waiting: Waiting, carried: object = None
    ) -> None:
        self.spec = spec
        self._calls = calls
        self._waiting = waiting
        self._graph = Graph.of(spec)
        if is_object(carried):
            self.progress = Progress.of_json(carried)
        else:
            nodes = {node.id: NodeView() for node in spec.nodes}
            self.progress = Progress(view=DagView(dag=spec.name, nodes=nodes))
        self._limits = Limits()
        self._work = Work(spec, self._graph, input, calls, waiting, self.progress, self._limits)
        calls.undo_of = self._work.undo_of
        self._left = {node.id: len(spec.dependencies[node.id]) for node in spec.nodes}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None
        self._quiet = asyncio.Event()

    @property
    def view(self) -> DagView:
        """What the run shows of itself."""
        return self.progress.view

    async def run(self) -> Payload | None:
        """Run every node.

        Returns:
            The result; None where the run must continue as new with `progress`.

        Raises:
            GiveUp, InvalidInput, WaitTimeout: A node failed the run.
        """
        for node in self.spec.nodes:
            if node.id in self.progress.outputs:
                for dependent in self._graph.dependents[node.id]:
                    self._left[dependent] -= 1
        self._begin(
            deque(
                node.id
                for node in self.spec.nodes
                if node.id not in self.progress.outputs and not self._left[node.id]
            )
        )
        try:
            if self._tasks:
                await self._quiet.wait()
        except asyncio.CancelledError:
            await ended(self._tasks.values())
            raise
        await ended(self._tasks.values())
        if self._failure is not None:
            raise self._failure
        if len(self.progress.outputs) < len(self.spec.nodes):
            return None
        return await self._result()

    async def _result(self) -> Payload:
        if self.spec.output is not None:
            return as_payload(await self._work.evaluate(self.spec.output))
        leaves = {node_id: self.progress.outputs[node_id] for node_id in self._graph.leaves}
        return next(iter(leaves.values())) if len(leaves) == 1 else object_of(leaves)

    def refuse_what_cannot_run(self) -> None:
        """Before anything runs, rather than when a run comes to it.

        Raises:
            InvalidInput: No worker can carry out a node.
        """
        here = registry().executors.types()
        for node in self.spec.nodes:
            for kind in (node.type, node.compensate.type if node.compensate else STEP_TYPE):
                if kind not in CONTROL_TYPES and kind != STEP_TYPE and kind not in here:
                    near = difflib.get_close_matches(kind, here, n=1)
                    meant = f"did you mean {near[0]!r}? " if near else ""
                    raise InvalidInput(
                        f"node {node.id!r}: this worker has no executor {kind!r}; {meant}it has: "
                        f"{', '.join(here) or 'none'}"
                    )

    async def find_steps(self) -> None:
        """Look up the options of steps that whoever started the run did not know.

        Raises:
            InvalidInput: The worker knows none of that name, but one of a name that is nearly the same. Another worker
                may know one whose name is like no other.
        """
        unknown = sorted(step_names(self.spec) - self.progress.steps.keys())
        if not unknown:
            return
        asked = self._calls.own(FIND_STEPS)
        found = plain(
            await self._calls.call(FIND_STEPS, asked, [as_payload(unknown)], StepOptions(local=True)),
            "The options of steps",
        )
        self.progress.steps.update(found["found"])
        for node in self.spec.nodes:
            near = found["near"].get(node.config.get("step")) if node.type == STEP_TYPE else None
            if near is not None and "queue" not in node.config:
                raise InvalidInput(
                    f"node {node.id!r}: this worker has no step {node.config['step']!r}; did you mean {near!r}?"
                )

    # From one node to the next

    def _begin(self, ready: deque[str]) -> None:
        """Start nodes whose dependencies have ended. What is skipped ends at once, and others become ready."""
        while ready:
            node = self.spec.by_id[ready.popleft()]
            skip = self._inherited_skip(node)
            if skip is not None:
                self._skip(node, skip)
                ready.extend(self._released(node.id))
            elif not self._limits.closing:
                self._tasks[node.id] = asyncio.create_task(self._node(node), name=node.id)

    def _released(self, node_id: str) -> list[str]:
        released: list[str] = []
        for dependent in self._graph.dependents[node_id]:
            self._left[dependent] -= 1
            if not self._left[dependent]:
                released.append(dependent)
        return self._urgent_first(released)

    def _urgent_first(self, node_ids: list[str]) -> list[str]:
        """What many others wait for is scheduled before what stands beside it, also where places are free: workers
        take it first."""
        return sorted(node_ids, key=lambda node_id: -self._work.urgency[node_id])

    async def _node(self, node: NodeSpec) -> None:
        """From the moment when it may start until it has ended, and what depends on it has started."""
        try:
            await self._to_its_end(node)
        except Suspended:
            pass
        except asyncio.CancelledError as exc:
            if node.id not in self._limits.suspending:
                self.view.nodes[node.id].state = StepState.CANCELLED
                self.view.nodes[node.id].closed = workflow.now()
                self._fail(exc)
        except InvalidInput as exc:
            named = repr(node.id) in exc.message
            self._fail(exc if named else InvalidInput(f"node {node.id!r}: {exc.message}"))
        except Exception as exc:  # noqa: BLE001 - raised again by `run`
            self._fail(exc)
        else:
            self._begin(deque(self._released(node.id)))
        # Not in a `finally`: where a stopped worker discards the run, nothing may be asked of it any more.
        del self._tasks[node.id]
        if self._limits.full(only_waits=self._tasks.keys() <= self._work.waits):
            self._suspend_waits()
        if self._failure is not None or not self._tasks:
            self._quiet.set()

    def _fail(self, exc: BaseException) -> None:
        self._failure = self._failure or exc
        self.view.error = self.view.error or str(exc) or "it was cancelled"

    def _suspend_waits(self) -> None:
        self._waiting.suspending = True
        for node_id, task in self._tasks.items():
            if node_id in self._work.waits:
                self._limits.suspending.add(node_id)
                task.cancel()

    async def _to_its_end(self, node: NodeSpec) -> None:
        view = self.view.nodes[node.id]
        if view.state is None and node.when is not None and not await self._work.condition(node.when):
            if node.when_unmet == "fail":
                self._failed(view, f"its condition {node.when!r} is false")
                raise InvalidInput(f"node {node.id!r} may not run: its condition {node.when!r} is false")
            self._skip(node, "cascade" if node.when_unmet == "skip_cascade" else "node")
            return
        if self._skipped_by_hand(view):
            self._skip(node, "node")
            return
        view.state, view.started = StepState.RUNNING, view.started or workflow.now()
        output = await self._until_decided(node, view)
        view.waits_for = None
        if output is None:
            self._skip(node, "cascade" if node.when_exhausted == "skip_cascade" else "node")
            return
        view.state, view.closed = StepState.COMPLETED, workflow.now()
        self.progress.outputs[node.id] = output
        self.progress.rounds.pop(node.id, None)

    async def _until_decided(self, node: NodeSpec, view: NodeView) -> Payload | None:
        """Do a node's work until it succeeds, or somebody decides otherwise; None when it is skipped."""
        while True:
            try:
                return await self._work.do(node, view)
            except BudgetExceeded as exc:
                self._failed(view, exc.message)
                raise
            except (GiveUp, InvalidInput, WaitTimeout) as exc:
                self._failed(view, exc.message)
                view.attempts = getattr(exc, "attempts", None)
                if node.when_exhausted != "fail":
                    return None
                if self.spec.options.on_failure == "fail":
                    self._calls.compensations.forget()
                if self.spec.options.on_failure != "pause":
                    raise
            view.waits_for = "a decision to retry or to skip it"
            await workflow.wait_condition(lambda: view.decision is not None)
            if self._skipped_by_hand(view):
                return None
            view.decision = view.waits_for = view.error = view.closed = view.until = None
            view.state = StepState.RUNNING

    def _skipped_by_hand(self, view: NodeView) -> bool:
        return view.decision == "skip"

    def _inherited_skip(self, node: NodeSpec) -> Skip | None:
        sources = self.spec.dependencies[node.id]
        skips = [self.view.nodes[source].skipped_as for source in sources]
        if "cascade" in skips:
            return "cascade"
        for source in sources:
            chosen = self.progress.chosen.get(source)
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
        view.state, view.skipped_as, view.closed, view.waits_for = (
            StepState.SKIPPED,
            skip,
            workflow.now(),
            None,
        )
        self.progress.outputs[node.id] = NULL
        if node.type == "switch" and skip == "node":  # one that chooses nothing goes no way
            self.progress.chosen[node.id] = frozenset()
        self.progress.chains.pop(node.id, None)

    def _failed(self, view: NodeView, error: str) -> None:
        view.state, view.error, view.closed, view.waits_for = StepState.FAILED, error, workflow.now(), None
