"""The worker: polls queues and runs workflows and steps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import PollerBehaviorSimpleMaximum, WorkerDeploymentConfig
from temporalio.worker import Worker as TemporalWorker

from holdfast.chaos.interceptor import chaos_of
from holdfast.checks import check_name
from holdfast.engine.blocked import be_patient
from holdfast.engine.handover import MAX_LOCAL
from holdfast.engine.health import HealthServer
from holdfast.engine.keyed_limits import KeyedLimits
from holdfast.engine.parts import Parts
from holdfast.engine.publishing import Who, publishing_of
from holdfast.engine.telemetry.figures import Figures, WorkerFigures
from holdfast.engine.telemetry.hints import hints_of
from holdfast.engine.telemetry.step_logs import step_logs_of
from holdfast.engine.telemetry.watch import Watch
from holdfast.errors import InvalidConfiguration, Unavailable
from holdfast.options import DEFAULT_QUEUE, check_duration
from holdfast.secrets import Given

if TYPE_CHECKING:
    from holdfast.chaos.plan import FaultPlan
    from holdfast.chaos.profiles import Profile
    from holdfast.client.client import Client

logger = logging.getLogger("holdfast.worker")

_CANCEL_SECONDS = 5.0
"""How long steps may take to react to a cancel before they are named."""


class Worker:
    """Serves workflows and steps. Use it as an async context manager, or call `run()` to serve until SIGTERM.

    It serves the workflows given to it, and every step its process has imported.

    Args:
        client: A connected client.
        served: Workflows, modules, module names (`"app.orders"`, `"app.*"`), and instances whose methods are steps.
        queues: The queues to poll. Default: those of the given workflows.
        max_steps: Steps at a time, in this process and per queue. Default 100.
        max_workflow_tasks: Workflow tasks at a time per queue. Default 100.
        max_cached_runs: Open runs kept in memory per queue; others are replayed when they go on. Default 1000.
        pollers: Connections that wait for work, per queue and kind. Default 5.
        max_processes: Processes for steps with `process=True`. Default: one per core.
        drain: How long running steps may finish after a stop was asked for. Default 30 s; then they are cancelled.
        health_port: Serves `/health` and `/ready` on 127.0.0.1 on this port; 0 picks a free one. Default: none.
        deployment: The name of the Temporal Worker Deployment this worker belongs to; with `build_id`.
        build_id: The version of the code. Runs of `versioning="pinned"` workflows stay on theirs.
        overrides: Values for dependencies in place of their providers, for tests.
        step_logs: Whether what steps log is kept with their runs. Default: where a history of runs is kept.
        secrets: Secrets by name, or a `SecretSource` such as a vault. Executors look here first, then in the
            environment (`HOLDFAST_SECRET_<NAME>`), then in the folder that `HOLDFAST_SECRETS_DIR` names.
        chaos: Faults that happen to its steps: `"gentle"`, `"moderate"`, `"aggressive"`, a `Profile` of your own, or a
            `FaultPlan`. Default: those that `client.chaos` asks for, where the cluster is on this machine.
        seed: The same one gives the same faults to the same attempts. Default: one that is drawn, and logged.
        allow_chaos: Also in a cluster that is not on this machine; and a crash may end this process also where the
            worker is only a part of it, `async with Worker(...)`, rather than all, `run()`.

    Raises:
        InvalidWorkflow, InvalidStep: Something that it serves cannot work.
        InvalidConfiguration: Options clash.
        NotAllowed: Chaos in a cluster that is not on this machine.
    """

    def __init__(
        self,
        client: Client,
        served: Sequence[object],
        *,
        queues: Iterable[str] | None = None,
        max_steps: int = 100,
        max_workflow_tasks: int = 100,
        max_cached_runs: int = 1000,
        pollers: int = 5,
        max_processes: int | None = None,
        drain: timedelta = timedelta(seconds=30),
        health_port: int | None = None,
        deployment: str | None = None,
        build_id: str | None = None,
        overrides: Mapping[Callable[[], Any], Any] | None = None,
        secrets: Given | None = None,
        step_logs: bool | None = None,
        chaos: Profile | FaultPlan | str | None = None,
        seed: int | None = None,
        allow_chaos: bool = False,
    ) -> None:
        if (deployment is None) != (build_id is None):
            raise InvalidConfiguration("deployment= and build_id= go together: name both or neither")
        self._client = client
        self._drain = drain
        for name, value, least in (
            ("max_steps", max_steps, 1),
            ("max_workflow_tasks", max_workflow_tasks, 1),
            ("max_cached_runs", max_cached_runs, 0),
            ("pollers", pollers, 1),
        ):
            if value < least:
                raise InvalidConfiguration(f"{name}={value!r}: use {least} or more")
        check_duration("drain", drain)
        self._parts = Parts(
            served,
            overrides=overrides,
            max_processes=max_processes,
            versioned=deployment is not None,
            secrets=secrets,
        )
        chosen = (
            list(queues) if queues is not None else [w.options.queue for w in self._parts.workflows.values()]
        )
        for queue in chosen:
            check_name("queue", queue, error=InvalidConfiguration)
        self.queues = sorted(set(chosen)) or [DEFAULT_QUEUE]
        self._threads = ThreadPoolExecutor(max_steps, thread_name_prefix="holdfast-step")
        host = self._parts.host(client.temporal.data_converter)
        host.limits = self._limits = KeyedLimits(client.temporal)
        self._heartbeats = self._parts.heartbeats(host)
        self._is_process = False
        disturbing = chaos_of(
            client,
            chaos,
            seed=seed,
            allow_chaos=allow_chaos,
            may_crash=lambda: self._is_process or allow_chaos,
            silence=self._heartbeats.remove,
        )
        self._figures = Figures(max_steps * len(self.queues))
        self._step_logs = step_logs_of(client, step_logs)
        self._hints = hints_of(client)
        observers = [self._figures, *client.telemetry.observers]
        watch = Watch(observers, client.telemetry.tracing, hints=self._hints)
        activities = self._parts.activities(host)
        self._health = HealthServer(health_port) if health_port is not None else None
        identity = f"{os.getpid()}@{socket.gethostname()}"
        build = build_id or self._parts.code_id()
        who = Who(identity=identity, queues=self.queues, build_id=build, deployment=deployment)
        self._publishing = publishing_of(client, self._parts, who)
        self._stop: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._workers = [
            TemporalWorker(
                client.temporal,
                task_queue=queue,
                workflows=self._parts.classes,
                activities=activities,
                activity_executor=self._threads,
                workflow_runner=self._parts.runner,
                interceptors=[self._heartbeats, watch, *disturbing],
                max_concurrent_activities=max_steps,
                max_concurrent_local_activities=MAX_LOCAL,
                max_concurrent_workflow_tasks=max_workflow_tasks,
                max_cached_workflows=max_cached_runs,
                workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(maximum=max(2, pollers)),
                activity_task_poller_behavior=PollerBehaviorSimpleMaximum(maximum=pollers),
                graceful_shutdown_timeout=drain,
                # The server gives a killed worker's runs to others only after this time; Temporal's default is 10 s.
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=5),
                # A cancel reaches a step with the answer to a beat, so beats may leave this often.
                max_heartbeat_throttle_interval=timedelta(seconds=1),
                identity=identity,
                deployment_config=_deployment(deployment, build_id),
                # Temporal's own default reads the code of every loaded module, which takes a second.
                build_id=None if deployment else build,
            )
            for queue in self.queues
        ]
        for worker in self._workers:
            be_patient(worker)

    @property
    def polling(self) -> bool:
        """Whether it takes work now: not any more once it was asked to stop."""
        stopping = self._stop is not None and self._stop.is_set()
        return not stopping and all(worker.is_running for worker in self._workers)

    @property
    def blocked_count(self) -> int:
        """How often a step of this worker held the loop for over a second."""
        return self._heartbeats.blocked_count

    @property
    def figures(self) -> WorkerFigures:
        """What it does now: steps and runs a second, latencies, failures, slots, CPU and memory."""
        return self._figures.now()

    @property
    def health_port(self) -> int | None:
        """The port of the health endpoint, once it serves."""
        return self._health.port if self._health else None

    async def __aenter__(self) -> Worker:
        self._stop = asyncio.Event()
        if self._health:  # first, since a port may be taken
            await self._health.start(lambda: self.polling)
        self._heartbeats.start()
        for background in (self._step_logs, self._publishing):
            if background is not None:
                background.start()
        for worker in self._workers:
            self._heartbeats.stand_by_worker(worker)
        for queue in self.queues:
            self._client.serving(queue, +1)
        await self._client.triggers.register(self._parts.workflows.values())
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._stop is not None
        assert self._task is not None
        self._stop.set()
        await self._task

    async def _serve(self) -> None:
        assert self._stop is not None
        runs = [asyncio.create_task(worker.run()) for worker in self._workers]
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([*runs, stop], return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                # Raised where the worker is left; until then nobody else would tell.
                logger.error("the worker of %s stops by itself", ", ".join(self.queues))
        finally:
            stop.cancel()
            for queue in self.queues:
                self._client.serving(queue, -1)
            await self._drained(asyncio.gather(*(worker.shutdown() for worker in self._workers)))
            results = await asyncio.gather(*runs, return_exceptions=True)
            self._heartbeats.stop()
            for told in (self._step_logs, self._hints, self._publishing):
                if told is not None:
                    await asyncio.to_thread(told.stop)
            await self._limits.close()
            try:
                await self._parts.close()
            finally:  # closing dependencies is the user's code
                self._threads.shutdown(wait=False)
                if self._health:
                    await self._health.stop()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise Unavailable(f"the worker of {', '.join(self.queues)} stopped: {result}") from result

    async def _drained(self, shutdown: asyncio.Future[Any]) -> None:
        """Wait for the end of all steps; what does not react to its cancel is named, since only a kill ends it."""
        done, _ = await asyncio.wait([shutdown], timeout=self._drain.total_seconds() + _CANCEL_SECONDS)
        if not done:
            logger.warning(
                "still waiting for what does not react to its cancel: %s; a second signal ends the process",
                ", ".join(self._heartbeats.running) or "workflow code that holds its thread",
            )
        await shutdown

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then let running steps finish (up to `drain`) and return.

        A second signal ends the process at once; another worker then runs its steps again.
        """
        loop = asyncio.get_running_loop()
        self._is_process = True
        async with self:
            assert self._stop is not None
            assert self._task is not None
            handled: list[signal.Signals] = []
            with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers on loops
                for name in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(name, self._stop.set)
                    handled.append(name)
            logger.info("serving %s on %s", ", ".join(sorted(self._parts.workflows)), ", ".join(self.queues))
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait([stopped, self._task], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            for name in handled:
                loop.remove_signal_handler(name)
            logger.info("stopping: running steps may finish")


def _deployment(name: str | None, build_id: str | None) -> WorkerDeploymentConfig | None:
    if name is None or build_id is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=name, build_id=build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )
