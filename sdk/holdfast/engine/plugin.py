"""Holdfast inside a Temporal client and worker that the user makes and owns."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from temporalio import client as temporal_client
from temporalio import worker as temporal_worker
from temporalio.client import ClientConfig, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.service import ConnectConfig, ServiceClient
from temporalio.worker import (
    Replayer,
    ReplayerConfig,
    UnsandboxedWorkflowRunner,
    WorkerConfig,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowReplayResult,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from holdfast.authoring.registry import registry
from holdfast.engine.data.adopt import adopt, can_carry
from holdfast.engine.heartbeat import HeartbeatInterceptor
from holdfast.engine.keyed_limits import KeyedLimits
from holdfast.engine.parts import Parts
from holdfast.engine.publishing import Publishing, Who
from holdfast.engine.shell import Shell
from holdfast.engine.telemetry.step_logs import can_keep
from holdfast.errors import InvalidConfiguration
from holdfast.secrets import Given

_SHARED = ("holdfast", "pydantic", "pydantic_core", "annotated_types", "typing_extensions")
"""What the user's own sandboxed workflows must not import anew: the registry would be empty there, and building
pydantic's models for each run costs seconds."""

_MAX_STEPS = 100


class Plugin(temporal_client.Plugin, temporal_worker.Plugin):
    """Holdfast's workflows and steps in your own Temporal `Client` and `Worker`, beside your own workflows.

    Give it to `Client.connect(..., plugins=[holdfast.Plugin([...])])`; workers made from that client serve what it
    names, and every step that the process has imported. `holdfast.Client.wrap(client)` starts runs. Steps also work
    inside workflow classes of your own.

    The client gets Holdfast's data converter in place of Temporal's default one; a codec of yours stays. Your
    workflows keep your workflow runner.

    Args:
        served: As `holdfast.Worker` takes them: workflows, modules, module names, and instances whose methods are
            steps.
        overrides: Values for dependencies in place of their providers, for tests.
        max_processes: For steps with `process=True`. Default: one per core.
        secrets: As for `holdfast.Worker`.
    """

    def __init__(
        self,
        served: Sequence[object] = (),
        *,
        overrides: Mapping[Callable[[], Any], Any] | None = None,
        max_processes: int | None = None,
        secrets: Given | None = None,
    ) -> None:
        self._served = list(served)
        self._secrets = secrets
        self._overrides = overrides
        self._max_processes = max_processes
        self._workers: dict[HeartbeatInterceptor, tuple[Parts, Executor | None]] = {}

    def name(self) -> str:
        """See base class."""
        return "holdfast.Plugin"

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """See base class.

        Raises:
            InvalidConfiguration: The client has a payload converter of its own.
        """
        config["data_converter"] = adopt(config["data_converter"], _own_converter())
        return config

    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        """See base class."""
        return await next(config)

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class.

        Raises:
            InvalidWorkflow, InvalidStep: Something that it serves cannot work.
            InvalidConfiguration: The worker's client was made without the plugin, or its executor runs processes.
        """
        from concurrent.futures import ProcessPoolExecutor

        given = cast("dict[str, Any]", config)
        converter: DataConverter = given["client"].data_converter
        if not can_carry(converter):
            raise InvalidConfiguration(
                "give holdfast.Plugin to Client.connect(plugins=[...]): a worker takes it over from its client"
            )
        executor = given.get("activity_executor")
        if isinstance(executor, ProcessPoolExecutor):
            raise InvalidConfiguration(
                "sync steps run on threads: leave activity_executor out or make it a ThreadPoolExecutor, and mark what "
                "computes with @step(process=True)"
            )
        threads = None
        if executor is None:
            threads = ThreadPoolExecutor(
                given.get("max_concurrent_activities") or _MAX_STEPS, "holdfast-step"
            )
            given["activity_executor"] = threads
        parts = Parts(
            self._served,
            overrides=self._overrides,
            max_processes=self._max_processes,
            secrets=self._secrets,
        )
        host = parts.host(converter)
        host.limits = KeyedLimits(given["client"])
        beats = parts.heartbeats(host)
        self._workers[beats] = (parts, threads)
        own: list[type] = list(given.get("workflows") or ())
        given["workflows"] = [*own, *parts.classes]
        given["activities"] = [*(given.get("activities") or []), *parts.activities(host)]
        given["interceptors"] = [*(given.get("interceptors") or []), beats]
        given["workflow_runner"] = _runner(given.get("workflow_runner"), parts, own)
        return config

    async def run_worker(
        self, worker: temporal_worker.Worker, next: Callable[[temporal_worker.Worker], Awaitable[None]]
    ) -> None:
        """See base class."""
        config = cast("dict[str, Any]", worker.config(active_config=True))
        (beats,) = (one for one in self._workers if one in config["interceptors"])
        parts, threads = self._workers.pop(beats)
        publishing = _publishing(config, parts)
        beats.start()
        if publishing is not None:
            publishing.start()
        try:
            await next(worker)
        finally:
            beats.stop()
            if publishing is not None:
                await asyncio.to_thread(publishing.stop)
            if beats.host.limits is not None:
                await beats.host.limits.close()
            await parts.close()
            if threads is not None:
                threads.shutdown(wait=False)

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """See base class."""
        given = cast("dict[str, Any]", config)
        given["data_converter"] = adopt(
            given.get("data_converter") or DataConverter.default, _own_converter()
        )
        parts = Parts(self._served)
        own: list[type] = list(given.get("workflows") or ())
        given["workflows"] = [*own, *parts.classes]
        given["workflow_runner"] = _runner(given.get("workflow_runner"), parts, own)
        return config

    def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        """See base class."""
        return next(replayer, histories)


class _EachItsOwn(WorkflowRunner):
    """Runs Holdfast's workflows by Holdfast's rule for what is imported anew, all others as their owner wants."""

    def __init__(self, ours: WorkflowRunner, theirs: WorkflowRunner) -> None:
        self._ours, self._theirs = ours, theirs

    def _of(self, definition: Any) -> WorkflowRunner:
        return self._ours if issubclass(definition.cls, Shell) else self._theirs

    def prepare_workflow(self, defn: Any) -> None:
        self._of(defn).prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return self._of(det.defn).create_instance(det)

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        self._ours.set_worker_level_failure_exception_types(types)
        self._theirs.set_worker_level_failure_exception_types(types)


def _publishing(config: Mapping[str, Any], parts: Parts) -> Publishing | None:
    from holdfast.settings import load

    settings, client = load(), config["client"]
    if settings.database_url is None or not can_keep():
        return None
    deployment = config.get("deployment_config")
    who = Who(
        identity=config.get("identity") or client.identity,
        queues=[config["task_queue"]],
        build_id=deployment.version.build_id if deployment else config.get("build_id"),
        deployment=deployment.version.deployment_name if deployment else None,
    )
    return Publishing(settings, client.namespace, parts, who)


def _runner(theirs: WorkflowRunner | None, parts: Parts, own: Sequence[type]) -> WorkflowRunner:
    theirs = theirs or SandboxedWorkflowRunner()
    if isinstance(theirs, SandboxedWorkflowRunner):
        private = {cls.__module__ for cls in own}
        shared = {step.fn.__module__ for step in registry().all_steps()} - private
        restrictions = theirs.restrictions.with_passthrough_modules(*_SHARED, *sorted(shared))
        theirs = dataclasses.replace(theirs, restrictions=restrictions)
    ours: WorkflowRunner = theirs if isinstance(theirs, UnsandboxedWorkflowRunner) else parts.runner
    return _EachItsOwn(ours, theirs)


def _own_converter() -> DataConverter:
    from holdfast.client.connection import data_converter
    from holdfast.settings import load

    settings = load()
    return data_converter(settings, storage=settings.storage)
