"""Who polls a queue."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError

from holdfast.client.start import unavailable
from holdfast.engine.embedded import processes

if TYPE_CHECKING:
    from holdfast.client.client import Client

_RECENT = timedelta(seconds=75)
"""A worker without work asks again once a minute, and the server lists it for five minutes after its end."""

_IDENTITY = re.compile(r"(\d+)@(.+)")


@dataclass(frozen=True, kw_only=True)
class Poller:
    """A worker that takes workflow tasks from a queue."""

    identity: str
    """Usually `pid@host`."""

    last_seen: datetime


async def pollers(client: Client, queue: str) -> list[Poller]:
    """The workers that poll a queue for workflow tasks, as far as is known.

    The server remembers workers that have ended; those that ran on this machine are left out.

    Raises:
        Unavailable: The server does not answer.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        answer = await client.temporal.workflow_service.describe_task_queue(request)
    except RPCError as exc:
        raise unavailable(exc) from exc
    found = [
        Poller(identity=poller.identity, last_seen=poller.last_access_time.ToDatetime(UTC))
        for poller in answer.pollers
    ]
    oldest = datetime.now(UTC) - _RECENT
    return [poller for poller in found if poller.last_seen >= oldest and may_live(poller.identity)]


def may_live(identity: str) -> bool:
    """Whether a worker may still be there; of one that ran on this machine it is known."""
    pid, host = process_of(identity)
    return pid is None or host != socket.gethostname() or processes.runs(pid, ())


def process_of(identity: str) -> tuple[int | None, str | None]:
    """The process id and the host of a worker, if its identity tells them."""
    match = _IDENTITY.fullmatch(identity)
    return (int(match[1]), match[2]) if match else (None, None)
