"""Which workers there are, of Holdfast or not."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerSlotsInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, ListWorkersRequest
from temporalio.service import RPCError, RPCStatusCode

from holdfast.checks import check_name
from holdfast.client.queues import may_live, process_of
from holdfast.client.start import unavailable
from holdfast.options import DEFAULT_QUEUE

if TYPE_CHECKING:
    from holdfast.catalogue import Catalogue
    from holdfast.client.client import Client

_SILENT_FOR: Final = timedelta(seconds=135)
"""Workers tell of themselves once a minute. One that has missed two of those is gone."""

_QUEUES: Final = 100
"""Of so many queues it is asked who polls them."""

_OPEN_RUNS: Final = 1000
"""The queues of so many open runs are looked at."""

_KINDS: Final = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
_TOLD: Final = {
    WorkerStatus.WORKER_STATUS_RUNNING: "running",
    WorkerStatus.WORKER_STATUS_SHUTTING_DOWN: "stopping",
}


@dataclass(frozen=True, kw_only=True)
class WorkerInfo:
    """One worker at one queue. A process that serves several queues is there once for each."""

    identity: str
    """Usually `pid@host`."""

    queue: str
    last_seen: datetime
    """When it last told of itself (it does so once a minute), or asked for work."""

    status: str = "running"
    """`running`, or `stopping`: it takes no new work, and finishes what it has."""

    host: str | None = None
    pid: int | None = None
    build_id: str | None = None
    deployment: str | None = None
    sdk: str | None = None
    """`temporal-python 1.35.0`."""

    started: datetime | None = None
    steps_running: int | None = None
    """Steps (activities) that it did when it was last seen."""

    max_steps: int | None = None
    """How many it does at a time, if that is a fixed number."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "identity": self.identity,
            "queue": self.queue,
            "status": self.status,
            "last_seen": self.last_seen.isoformat(),
            "host": self.host,
            "pid": self.pid,
            "build_id": self.build_id,
            "deployment": self.deployment,
            "sdk": self.sdk,
            "started": self.started.isoformat() if self.started else None,
            "steps_running": self.steps_running,
            "max_steps": self.max_steps,
        }


class Workers:
    """`client.workers`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(self, *, queues: Iterable[str] | None = None) -> builtins.list[WorkerInfo]:
        """The workers of the namespace, by queue and identity, as Temporal knows them: those that tell of themselves,
        and those that poll a queue that is known here (`default`, those of the former, and of open runs).

        What a worker tells of itself may take a minute to come, and one that was killed stays for up to two, unless it
        ran on this machine.

        Args:
            queues: Only these queues; also finds silent workers of queues without open runs.

        Raises:
            Unavailable: The server does not answer.
        """
        wanted = None if queues is None else sorted({check_name("queue", queue) for queue in queues})
        try:
            told = await self._heartbeats()
            if wanted is None:
                names = {DEFAULT_QUEUE, *(one.task_queue for one in told), *await self._queues_of_open_runs()}
                asked = sorted(names)[:_QUEUES]
            else:
                asked = wanted
            polling = await asyncio.gather(*(self._pollers(queue) for queue in asked))
        except RPCError as exc:
            raise unavailable(exc) from exc
        found = {(one.task_queue, one.worker_identity): _of_heartbeat(one) for one in told}
        # Workers of older SDKs do not tell of themselves, and no worker does so to older servers.
        for queue, pollers in zip(asked, polling, strict=True):
            for poller in pollers:
                found.setdefault((queue, poller.identity), _of_poller(queue, poller))
        oldest = datetime.now(UTC) - _SILENT_FOR
        return [
            found[key]
            for key in sorted(found)
            if (wanted is None or key[0] in wanted)
            and found[key].last_seen >= oldest
            and may_live(found[key].identity)
        ]

    async def catalogue(self, *, queue: str | None = None) -> Catalogue:
        """What workers serve: workflows, steps and executors with their JSON Schemas, options and builds.

        Workers publish it to the history of runs within some seconds of their start: to that of their home, or where
        `HOLDFAST_DATABASE_URL` says. It stays for 30 days after the last of them is gone, so that runs can be started
        that wait for a worker. Of a queue with workers it is what they serve; of another one, what the last one did.

        Args:
            queue: Only what is served at this queue.

        Raises:
            Unavailable: The server or the database does not answer, or no history is kept.
            InvalidConfiguration: The database keeps the runs of another namespace.
        """
        from holdfast.catalogue import current, merge
        from holdfast.indexer.progress import check_namespace
        from holdfast.store.catalogues import queue_key, read_documents, read_workers

        store = self._client.store
        await store.call(check_namespace, self._client.namespace)
        known = await store.call(read_workers)
        if queue is not None:
            known = [one for one in known if one.queue == queue_key(queue)]
        latest = {one.queue: one.started for one in sorted(known, key=lambda one: one.started)}
        asked = sorted(latest, key=lambda name: latest[name], reverse=True)[:_QUEUES]
        there = await self.list(queues=asked) if asked else []
        live = {(queue_key(worker.identity), worker.queue) for worker in there}
        counted = current(known, live)
        documents = await store.call(read_documents, sorted({one.hash for one in counted}))
        return merge(counted, documents, live)

    async def _heartbeats(self) -> builtins.list[WorkerHeartbeat]:
        found: list[WorkerHeartbeat] = []
        token = b""
        while True:
            request = ListWorkersRequest(
                namespace=self._client.namespace, page_size=1000, next_page_token=token
            )
            try:
                answer = await self._client.temporal.workflow_service.list_workers(request)
            except RPCError as exc:
                if exc.status in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT):
                    return []  # an older server, or one where this is turned off
                raise
            listed = (info.worker_heartbeat for info in answer.workers_info)
            found += [one for one in listed if one.status in _TOLD]
            token = answer.next_page_token
            if not token:
                return found

    async def _queues_of_open_runs(self) -> set[str]:
        listed = self._client.temporal.list_workflows('ExecutionStatus = "Running"', limit=_OPEN_RUNS)
        return {execution.task_queue async for execution in listed}

    async def _pollers(self, queue: str) -> builtins.list[PollerInfo]:
        service, name = self._client.temporal.workflow_service, TaskQueue(name=queue)
        answers = await asyncio.gather(
            *(
                service.describe_task_queue(
                    DescribeTaskQueueRequest(
                        namespace=self._client.namespace, task_queue=name, task_queue_type=kind
                    )
                )
                for kind in _KINDS
            )
        )
        pollers = [poller for answer in answers for poller in answer.pollers]
        return sorted(pollers, key=lambda poller: poller.last_access_time.ToMicroseconds(), reverse=True)


def _of_heartbeat(told: WorkerHeartbeat) -> WorkerInfo:
    steps = told.activity_task_slots_info
    version = told.deployment_version
    return WorkerInfo(
        identity=told.worker_identity,
        queue=told.task_queue,
        last_seen=told.heartbeat_time.ToDatetime(UTC),
        status=_TOLD[told.status],
        host=told.host_info.host_name or None,
        pid=int(told.host_info.process_id) if told.host_info.process_id.isdigit() else None,
        build_id=version.build_id or None,
        deployment=version.deployment_name or None,
        sdk=f"{told.sdk_name} {told.sdk_version}".strip() or None,
        started=told.start_time.ToDatetime(UTC) if told.HasField("start_time") else None,
        steps_running=steps.current_used_slots,
        max_steps=_total(steps),
    )


def _total(slots: WorkerSlotsInfo) -> int | None:
    if slots.slot_supplier_kind != "Fixed":
        return None
    return slots.current_used_slots + slots.current_available_slots


def _of_poller(queue: str, poller: PollerInfo) -> WorkerInfo:
    deployed = poller.deployment_options
    pid, host = process_of(poller.identity)
    return WorkerInfo(
        identity=poller.identity,
        queue=queue,
        host=host,
        pid=pid,
        last_seen=poller.last_access_time.ToDatetime(UTC),
        build_id=deployed.build_id or poller.worker_version_capabilities.build_id or None,
        deployment=deployed.deployment_name or None,
    )
