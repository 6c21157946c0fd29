"""Where Temporal's data was set back, by a backup or by a disk that lost what it had said to keep: the store has ends
of runs that Temporal does not know, and would show them for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select, tuple_, update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from holdfast.client.start import unavailable
from holdfast.errors import NotFound
from holdfast.indexer.reading import Unreadable, look, read_described
from holdfast.indexer.visibility import is_open
from holdfast.store.database import Database
from holdfast.store.rows import IndexedRun
from holdfast.store.schema import executions, runs
from holdfast.store.writer import write_runs

log = logging.getLogger("holdfast.indexer")

PAGE: Final = 20
UNKNOWN: Final = (
    "Temporal does not know it any more, though it ended not long ago: it was deleted there, or Temporal's data was "
    "set back. What is stored is what was read before."
)
_SAME: Final = timedelta(seconds=0.1)


@dataclass(frozen=True, kw_only=True)
class SetBack:
    """What was found, in runs."""

    replaced: int = 0
    """Temporal has another course of them than was stored."""

    unknown: int = 0
    """Temporal does not have them."""


@dataclass(frozen=True, kw_only=True)
class _Closed:
    key: int
    run_id: str
    execution_id: str
    closed: datetime
    last_event_id: int
    gap: str | None


async def mend_set_back(client: Client, database: Database) -> SetBack:
    """Compare the runs that were the last to end with what Temporal has of them: what it has replaces what is stored.
    It goes further back as long as some differ. Open runs need nothing of this: they are looked at anyway.

    Raises:
        Unavailable: Temporal or the database does not answer.
    """
    replaced = unknown = 0
    oldest = datetime.now(UTC) - await _kept(client)
    last: _Closed | None = None
    while page := await asyncio.to_thread(_ended_before, database, last, oldest):
        answers = await asyncio.gather(*(_compare(client, run) for run in page if run.gap is None))
        other = [answer for answer in answers if isinstance(answer, IndexedRun)]
        gone = [answer for answer in answers if isinstance(answer, str)]
        if not other and not gone:
            break
        if other:
            await asyncio.to_thread(write_runs, database, other)
        await asyncio.to_thread(_mark_unknown, database, gone)
        replaced, unknown, last = replaced + len(other), unknown + len(gone), page[-1]
    if replaced or unknown:
        log.warning(
            "Temporal's data seems to have been set back: of what was stored of runs that had ended, %d were "
            "stored anew, and Temporal does not know %d",
            *(replaced, unknown),
        )
    return SetBack(replaced=replaced, unknown=unknown)


async def _compare(client: Client, run: _Closed) -> IndexedRun | str | None:
    """What Temporal has of it if that differs; the id of the execution if it has nothing."""
    execution = WorkflowExecution(workflow_id=run.run_id, run_id=run.execution_id)
    try:
        description = await look(client, execution)
        if _same(run, description.workflow_execution_info):
            return None
        return replace(await read_described(client, description), replaces=True)
    except NotFound:
        return run.execution_id
    except Unreadable:
        return None


def _same(run: _Closed, info: WorkflowExecutionInfo) -> bool:
    if is_open(info) or info.history_length != run.last_event_id:
        return False
    return abs(info.close_time.ToDatetime(UTC) - run.closed) < _SAME


async def _kept(client: Client) -> timedelta:
    """For how long Temporal keeps what has ended; long, where it never deletes."""
    request = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        told = await client.workflow_service.describe_namespace(request)
    except RPCError as error:
        raise unavailable(error) from error
    return told.config.workflow_execution_retention_ttl.ToTimedelta() or timedelta(days=3650)


def _ended_before(database: Database, last: _Closed | None, oldest: datetime) -> Sequence[_Closed]:
    query = (
        select(
            runs.c.key, runs.c.id.label("run_id"), runs.c.execution_id, runs.c.closed, runs.c.last_event_id,
            runs.c.gap,
        )
        .where(runs.c.closed > oldest)
        .order_by(runs.c.closed.desc(), runs.c.key.desc())
        .limit(PAGE)
    )  # fmt: skip
    if last is not None:
        query = query.where(tuple_(runs.c.closed, runs.c.key) < (last.closed, last.key))
    with database.read() as connection:
        return [_Closed(**row) for row in connection.execute(query).mappings()]


def _mark_unknown(database: Database, execution_ids: Sequence[str]) -> None:
    if execution_ids:
        with database.write() as connection:
            for table in (executions, runs):
                mark = update(table).where(table.c.execution_id.in_(execution_ids))
                connection.execute(mark.values(gap=UNKNOWN))
