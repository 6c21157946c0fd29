"""Where the worker of a run may die, and a worker that dies there for one run at a time.

It stands between Temporal's native part and its Python part, where everything that a worker hears and says passes. For
a run that is to lose its worker at a point, what is said of the tasks in hand is lost, and what is cached of it is
dropped: no more does a killed worker leave behind. The server is told at once what it would find out by a timeout.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from temporalio.bridge.proto import ActivityTaskCompletion
from temporalio.bridge.proto.activity_task import ActivityTask
from temporalio.bridge.proto.workflow_activation import RemoveFromCache, WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import Worker as TemporalWorker

Moment = Literal["begins", "ends", "is recorded"]
Act = Callable[[], Awaitable[object]]

_LOST: Final = "the worker died here, for a test"
_CLOSING: Final = (
    "complete_workflow_execution",
    "fail_workflow_execution",
    "cancel_workflow_execution",
    "continue_as_new_workflow_execution",
)
_NO_REPORT: Final = ("remove_from_cache", "query_workflow")


@dataclass(frozen=True, kw_only=True)
class CrashPoint:
    """One moment in which a run loses its worker."""

    what: str
    """The call of a step, by its id (`charge-1`), or `workflow task 3`; in a child run with its id before it
    (`child:1/charge-1`)."""

    attempt: int = 1
    """Of the step."""

    moment: Moment
    """`begins`: it was handed out and has not begun. `ends`: it is done, and its report is lost. `is recorded`: the
    server has the report, and the worker dies at once."""

    event: int | None = field(default=None, compare=False)
    """The last event of the undisturbed history at that moment; None where the history does not tell."""

    def __str__(self) -> str:
        attempt = f", attempt {self.attempt}" if self.attempt > 1 else ""
        event = f" (event {self.event})" if self.event is not None else ""
        return f"as {self.what}{attempt} {self.moment}{event}"


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A step's task in hand."""

    what: str
    execution: str
    attempt: int
    local: bool


@dataclass(kw_only=True)
class Watched:
    """What a worker did for one run and its children.

    Attributes:
        run_id: The root run.
        crash_at: Where it loses its worker; None for a run that keeps it.
        points: All points that came by, in their order, until the crash.
        crashed: Whether it has come to the point.
        calls: How often each call of a step was begun.
        again: Calls that were begun after the server had their result.
        broken: Why the workflow's code cannot go on.
        late: Calls that were begun after their run had ended.
        over: Whether the run has ended.
        executions: Every execution seen, by its Temporal run id: the run and the length of its history so far.
    """

    run_id: str
    crash_at: CrashPoint | None
    tell: Callable[[], object]
    """Called when `broken` or `over` is set; from any thread."""
    do: Act | None = None
    """What happens at the point, while all waits for it; None: the worker is lost."""
    points: list[CrashPoint] = field(default_factory=list[CrashPoint])
    crashed: bool = False
    calls: Counter[str] = field(default_factory=Counter[str])
    again: list[str] = field(default_factory=list[str])
    broken: str | None = None
    executions: dict[str, str] = field(default_factory=dict[str, str])
    completed: set[str] = field(default_factory=set[str])
    late: list[str] = field(default_factory=list[str])
    over: bool = False

    def name(self, run_id: str, what: str) -> str:
        """What a task is called in points: without what differs from run to run."""
        if run_id == self.run_id:
            return what
        child = run_id.removeprefix(self.run_id).lstrip("/.:-")
        return f"{child}/{what}"


@dataclass(kw_only=True)
class _Execution:
    """One execution in the cache of one worker."""

    watched: Watched
    run_id: str
    bridge: Any
    tasks: int = 0
    """Activations so far."""
    history_length: int = 0
    in_hand: bool = False
    local: int = 0
    """Local steps that run."""
    doomed: bool = False
    """Its workflow task is lost."""
    closed: bool = False


class CrashingWorkers:
    """The points at which workers of this process die for the runs that are watched."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._executions: dict[str, _Execution] = {}
        self._tasks: dict[bytes, _Task] = {}
        self._lost: set[bytes] = set()
        self._lock = threading.RLock()

    def watch(self, watched: Watched) -> None:
        """Watch a run that is about to start."""
        self._watched[watched.run_id] = watched

    def forget(self, watched: Watched) -> None:
        """A run has ended."""
        with self._lock:
            del self._watched[watched.run_id]
            for execution in watched.executions:
                self._executions.pop(execution, None)
            self._tasks = {
                token: task for token, task in self._tasks.items() if task.execution not in watched.executions
            }

    def stand_in(self, worker: TemporalWorker) -> None:
        """Stand between the two parts of a worker that does not run yet."""
        bridge: Any = worker._bridge_worker  # pyright: ignore[reportPrivateUsage]
        self._stand_in_workflows(bridge)
        self._stand_in_steps(bridge)

    # Workflow tasks

    def _stand_in_workflows(self, bridge: Any) -> None:
        poll, complete = bridge.poll_workflow_activation, bridge.complete_workflow_activation

        async def poll_workflow_activation() -> WorkflowActivation:
            activation: WorkflowActivation = await poll()
            with self._lock:
                self._activated(activation, bridge)
            return activation

        async def complete_workflow_activation(completion: WorkflowActivationCompletion) -> None:
            with self._lock:
                execution = self._executions.get(completion.run_id)
                point = act = None
                if execution is not None and execution.in_hand:
                    act, point = self._ends(execution, completion)
            if act is not None:
                await act()
            with self._lock:
                if execution is not None and execution.in_hand:
                    if execution.doomed:
                        completion = _failed_task(completion.run_id)
                    # Before it is sent: the next one may come before this is answered.
                    execution.in_hand = execution.doomed = False
            closes = any(
                command.WhichOneof("variant") in _CLOSING for command in completion.successful.commands
            )
            await complete(completion)
            if execution is not None and point is not None:
                with self._lock:
                    self._closed(execution, closes)
                    act = self._passes(execution.watched, point)
                if act is not None:
                    await act()

        bridge.poll_workflow_activation = poll_workflow_activation
        bridge.complete_workflow_activation = complete_workflow_activation

    def _activated(self, activation: WorkflowActivation, bridge: Any) -> None:
        execution = self._executions.get(activation.run_id)
        for job in activation.jobs:
            if job.HasField("initialize_workflow"):
                init = job.initialize_workflow
                watched = self._watched.get(init.root_workflow.workflow_id or init.workflow_id)
                if watched is None:
                    return
                execution = _Execution(watched=watched, run_id=init.workflow_id, bridge=bridge)
                execution.tasks = self._tasks_before(activation.run_id)
                self._executions[activation.run_id] = execution
                watched.executions[activation.run_id] = init.workflow_id
            elif job.HasField("remove_from_cache") and execution is not None:
                reason = job.remove_from_cache.reason
                if reason == RemoveFromCache.EvictionReason.NONDETERMINISM:
                    self._broken(execution.watched, job.remove_from_cache.message)
            elif job.HasField("resolve_activity") and job.resolve_activity.is_local and execution is not None:
                execution.local -= 1
        if execution is not None and not all(
            job.WhichOneof("variant") in _NO_REPORT for job in activation.jobs
        ):
            execution.in_hand, execution.closed = True, False
            execution.tasks += 1
            execution.history_length = activation.history_length

    def _tasks_before(self, execution_id: str) -> int:
        known = self._executions.get(execution_id)
        return known.tasks if known is not None else 0

    def _closed(self, execution: _Execution, closed: bool) -> None:
        # The server may refuse it, since something came for the run meanwhile: then the run is activated again.
        execution.closed = closed and not execution.in_hand
        if execution.closed and execution.run_id == execution.watched.run_id:
            execution.watched.over = True
            execution.watched.tell()

    def _ends(
        self, execution: _Execution, completion: WorkflowActivationCompletion
    ) -> tuple[Act | None, CrashPoint | None]:
        """A workflow task was worked on. Returns what is to happen now, and the point at which the server has its
        report, if it gets one."""
        watched = execution.watched
        if completion.HasField("failed"):
            if not execution.doomed:
                self._broken(watched, completion.failed.failure.message)
            return None, None
        commands = completion.successful.commands
        execution.local += sum(command.HasField("schedule_local_activity") for command in commands)
        what = watched.name(execution.run_id, f"workflow task {execution.tasks}")
        length = execution.history_length
        act = self._passes(watched, CrashPoint(what=what, moment="ends", event=length))
        # While local steps run, the task goes on, and the server hears nothing.
        heard = execution.local == 0
        return act, CrashPoint(what=what, moment="is recorded", event=length + 1) if heard else None

    def _broken(self, watched: Watched, why: str) -> None:
        if watched.broken is None:
            watched.broken = why
            watched.tell()

    # Steps

    def _stand_in_steps(self, bridge: Any) -> None:
        poll, complete = bridge.poll_activity_task, bridge.complete_activity_task

        async def poll_activity_task() -> ActivityTask:
            while True:
                task: ActivityTask = await poll()
                with self._lock:
                    lost, act = self._begins(task) if task.HasField("start") else (False, None)
                    local = task.start.is_local
                if act is not None:
                    await act()
                if not lost:
                    return task
                # A local one is answered for with anything: its workflow task is lost.
                done = ActivityTaskCompletion(task_token=task.task_token)
                done.result.completed.result.metadata["encoding"] = b"binary/null"
                await complete(done if local else _lost_step(done))

        async def complete_activity_task(completion: ActivityTaskCompletion) -> None:
            token = completion.task_token
            with self._lock:
                task = self._tasks.get(token)
                watched = self._of(task)
                act = None
                if task is not None and watched is not None:
                    act = self._passes(watched, self._point(task, "ends"))
                    del self._tasks[token]
                lost = token in self._lost
                self._lost.discard(token)
            if act is not None:
                await act()
            await complete(_lost_step(completion) if lost else completion)
            if task is not None and watched is not None and not lost and not task.local:
                with self._lock:
                    if completion.result.HasField("completed"):
                        watched.completed.add(task.what)
                    act = self._passes(watched, self._point(task, "is recorded"))
                if act is not None:
                    await act()

        bridge.poll_activity_task = poll_activity_task
        bridge.complete_activity_task = complete_activity_task

    def _of(self, task: _Task | None) -> Watched | None:
        execution = self._executions.get(task.execution) if task is not None else None
        return execution.watched if execution is not None else None

    @staticmethod
    def _point(task: _Task, moment: Moment) -> CrashPoint:
        return CrashPoint(what=task.what, attempt=task.attempt, moment=moment)

    def _begins(self, asked: ActivityTask) -> tuple[bool, Act | None]:
        """A step's task was handed out. Returns whether it is lost before it begins, and what is to happen."""
        start = asked.start
        execution = self._executions.get(start.workflow_execution.run_id)
        if execution is None:
            return False, None
        watched = execution.watched
        task = _Task(
            what=watched.name(start.workflow_execution.workflow_id, start.activity_id),
            execution=start.workflow_execution.run_id,
            attempt=start.attempt,
            local=start.is_local,
        )
        had_crashed = watched.crashed
        act = self._passes(watched, self._point(task, "begins"))
        if act is None and watched.crashed and not had_crashed:
            return True, None
        if task.what in watched.completed:
            watched.again.append(task.what)
        if execution.closed:
            watched.late.append(task.what)
        watched.calls[task.what] += 1
        self._tasks[asked.task_token] = task
        return False, act

    # Points

    def _passes(self, watched: Watched, point: CrashPoint) -> Act | None:
        """A point comes by. Where it is the one, the worker is lost, or what is to happen is returned."""
        if watched.crashed:
            return None
        watched.points.append(point)
        watched.crashed = point == watched.crash_at
        if watched.crashed and watched.do is None:
            self._crash(watched)
        return watched.do if watched.crashed else None

    def _crash(self, watched: Watched) -> None:
        for execution_id, execution in self._executions.items():
            if execution.watched is not watched:
                continue
            if execution.in_hand or execution.local > 0:
                execution.doomed = True
            else:
                execution.bridge.request_workflow_eviction(execution_id)
        self._lost |= {
            token for token, task in self._tasks.items() if not task.local and self._of(task) is watched
        }


def with_events(points: list[CrashPoint], events: dict[tuple[str, Moment], int]) -> Iterator[CrashPoint]:
    """The same points, those of steps with the events that a history has for them."""
    for point in points:
        known = events.get((point.what, point.moment))
        yield dataclasses.replace(point, event=known) if known is not None else point


def _failed_task(execution_id: str) -> WorkflowActivationCompletion:
    completion = WorkflowActivationCompletion(run_id=execution_id)
    completion.failed.failure.message = _LOST
    return completion


def _lost_step(completion: ActivityTaskCompletion) -> ActivityTaskCompletion:
    """The end of an attempt that does what a heartbeat timeout does: the next one follows by the retry policy. The
    server takes no timeouts from workers."""
    lost = ActivityTaskCompletion(task_token=completion.task_token)
    lost.result.failed.failure.message = _LOST
    lost.result.failed.failure.application_failure_info.type = "HeartbeatTimeout"
    return lost
