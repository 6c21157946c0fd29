"""One round of the indexer: what Temporal lists and the store does not have is read and stored."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import Client

from holdfast.errors import NotFound, Unavailable
from holdfast.indexer import progress
from holdfast.indexer.leases import shard_of
from holdfast.indexer.reading import Unreadable, look, read_described, read_listed
from holdfast.indexer.seen import Seen, closing
from holdfast.indexer.visibility import PAGE, count_all, count_closed, is_open, list_closed, list_open
from holdfast.states import RunState
from holdfast.store.database import Database
from holdfast.store.rows import IndexedRun
from holdfast.store.writer import write_runs

SHORT_OVERLAP: Final = timedelta(seconds=1)
OVERLAP: Final = timedelta(seconds=10)
"""How far before the last one a list begins: executions appear in lists in another order than they close. Of closed
ones only the shorter time is listed where the count of the longer one is as it was."""

DEEP_OVERLAP: Final = timedelta(minutes=10)
"""A thorough round begins earlier, for what appeared late, or was stamped by a clock that is behind."""

SETTLE: Final = timedelta(seconds=1)
"""An execution that has just started is read when it is this old: most have ended by then, and are read once."""

BUSY_SETTLE: Final = timedelta(seconds=5)
"""The same after a round that found `BUSY` or more: an engine at full speed takes longer for each."""

BUSY: Final = 10

NEW_OPEN: Final = 50
"""How many open executions are read for the first time in a round that is not thorough."""

LOOK_AGAIN: Final = 20
"""How many open executions are looked at again in one round. With `NEW_OPEN` it bounds what an engine at full speed
pays for runs that are open for seconds, and are read again when they end."""

LOOK_ON: Final = 100
LOOK_ON_SECONDS: Final = 0.4
"""A round that found less than `BUSY` goes on with so many at a time for so long: thousands may wait for somebody."""

READ_AT_A_TIME: Final = 16
BATCH: Final = 100
_QUIET: Final = (RunState.WAITING.value, RunState.PAUSED.value)

T = TypeVar("T")


@dataclass(kw_only=True)
class Counts:
    """What an indexer has done since it was made."""

    stored: int = 0
    """Executions written, each as often as it was."""

    unreadable: int = 0
    gaps: int = 0
    """Executions without a history."""

    looked_again: int = 0
    rounds: int = 0

    def to_dict(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)


class Round:
    """One round over some shards, with what it found."""

    def __init__(
        self,
        client: Client,
        database: Database,
        shards: frozenset[int],
        *,
        counts: Counts,
        seen: Seen | None = None,
        thorough: bool = False,
        anew: bool = False,
        settle: timedelta = SETTLE,
        show: Callable[[Counts], None] | None = None,
    ) -> None:
        self._client = client
        self._database = database
        self._gate = asyncio.Semaphore(READ_AT_A_TIME)
        self._counts = counts
        self._shards = shards
        self._seen = seen or Seen()
        self._back = DEEP_OVERLAP if thorough else OVERLAP
        self._thorough = thorough
        self._anew = anew
        self._settle = settle
        self._show = show
        self._now = datetime.now(UTC)
        self._continued: dict[str, str] = {}
        """Runs that go on from an earlier execution, by the id of the first one."""
        self.found = 0
        """How many executions were stored that were not stored, or not as closed."""

        self.overdue = timedelta()
        """For how long open executions wait to be looked at again."""

        self.heard = False
        """Whether anybody listens to events."""

    async def run(self) -> None:
        """Look once for all that is new.

        Raises:
            InvalidConfiguration: The database keeps the runs of another namespace.
            Unavailable: Temporal or the database does not answer.
        """
        namespace = self._client.namespace
        cursor = await self._db(progress.load_cursor, self._database, self._shards, namespace, self._anew)
        self.heard = cursor.heard
        self._seen.rest_on((self._shards, cursor.resets))
        opened = await self._new_open(cursor.opened)
        may_be_more = await self._look_again(LOOK_AGAIN)
        await self._try_again()
        closed = await self._new_closed(cursor.closed)
        await self._look_on(may_be_more)
        await self._look_for_beginnings()
        reached = progress.Cursor(closed=closed, opened=opened, resets=cursor.resets)
        await self._db(progress.save_cursor, self._database, self._shards, namespace, reached)
        self._counts.rounds += 1

    async def read(self, reads: Collection[Callable[[], Awaitable[IndexedRun | None]]]) -> None:
        """Read and store some executions, and nothing else.

        Raises:
            Unavailable: Temporal or the database does not answer.
        """
        await self._keep(await self._read(reads))
        await self._look_for_beginnings()

    async def _new_open(self, since: datetime) -> datetime:
        """Read open executions that are not known. Returns up to when."""
        newest = since
        later: list[datetime] = []
        oldest: deque[WorkflowExecutionInfo] = deque()
        # A thorough round looks at all: the server's clock may be ahead.
        until = None if self._thorough else self._now - self._settle
        async for page in list_open(self._client, max(since - self._back, progress.BEGINNING), until):
            newest = max([newest, *(info.start_time.ToDatetime(UTC) for info in page)])
            mine = self._mine(page)
            is_known = await self._known(mine)
            for info in mine:
                started = info.start_time.ToDatetime(UTC)
                if info.execution.run_id in is_known:
                    continue
                if timedelta() <= self._now - started < self._settle:
                    later.append(started)
                else:
                    oldest.append(info)
            # Lists begin with the newest, and the oldest are the least likely to end soon.
            while not self._thorough and len(oldest) > NEW_OPEN:
                later.append(oldest.popleft().start_time.ToDatetime(UTC))
            if self._thorough:
                await self._read_all(list(oldest))
                oldest.clear()
        await self._read_all(list(oldest))
        return max(since, min([newest, self._now, *later]))

    async def _new_closed(self, since: datetime) -> datetime:
        """Read closed executions that are not known as such. Returns up to when."""
        newest = since
        begin = await self._begin(since)
        found: set[tuple[datetime, str]] = set()
        keep = self._now - 2 * DEEP_OVERLAP
        async for page in list_closed(self._client, begin):
            newest = max([newest, *(info.close_time.ToDatetime(UTC) for info in page)])
            mine = self._mine(page)
            is_known = await self._known(mine)
            await self._read_all([info for info in mine if not is_known.get(info.execution.run_id, False)])
            found.update(one for one in map(closing, page) if one[0] >= keep)
        self._seen.listed(begin, found, keep=keep)
        # One clock that is ahead must not hide what others stamp.
        return max(since, min(newest, self._now))

    async def _begin(self, since: datetime) -> datetime:
        """From when on closed executions are listed."""
        begin, short = (max(since - back, progress.BEGINNING) for back in (self._back, SHORT_OVERLAP))
        if begin == short or (not self._thorough and self._now - since > 2 * OVERLAP):
            return short  # where nothing has come for a while, thorough rounds find what is late
        count = await count_closed(self._client, begin, short)
        return short if count == self._seen.count(begin, short) else begin

    async def _look_on(self, may_be_more: bool) -> None:
        """Where there is little else to do, look at more open executions."""
        until = time.monotonic() + LOOK_ON_SECONDS
        while may_be_more and self.found < BUSY and time.monotonic() < until:
            may_be_more = await self._look_again(LOOK_ON)
        if may_be_more:
            self.overdue = await self._db(progress.overdue, self._database)

    async def _look_again(self, limit: int) -> bool:
        """Look at open executions that are stored.

        Returns:
            Whether more may be due.
        """
        due = await self._db(progress.due, self._database, self._shards, limit)
        gone: list[str] = []
        same: list[str] = []

        async def again(known: progress.Known) -> IndexedRun | None:
            execution = WorkflowExecution(workflow_id=known.run_id, run_id=known.execution_id)
            try:
                return await changed(known, execution)
            except NotFound:
                gone.append(known.execution_id)
                return None
            except Unreadable:
                same.append(
                    known.execution_id
                )  # it has its own turn, and must not be first in this one for ever
                raise

        async def changed(known: progress.Known, execution: WorkflowExecution) -> IndexedRun | None:
            description = await look(self._client, execution)
            info = description.workflow_execution_info
            if (
                is_open(info)
                and known.state in _QUIET
                and info.history_length == known.last_event_id
                and not description.pending_activities
            ):
                same.append(known.execution_id)
                return None
            read = await read_described(self._client, description)
            self.found += read.run.closed is not None
            # Temporal's data was set back, to before what is stored.
            return replace(read, replaces=info.history_length < known.last_event_id)

        await self._keep(await self._read([partial(again, known) for known in due]))
        await self._db(progress.mark_seen, self._database, same, self._now)
        await self._db(progress.mark_gone, self._database, gone)
        self._counts.looked_again += len(due)
        self._counts.gaps += len(gone)
        return len(due) == limit

    async def _try_again(self) -> None:
        """Read once more what could not be read."""

        async def again(execution: WorkflowExecution) -> IndexedRun | None:
            try:
                return await read_described(self._client, await look(self._client, execution))
            except NotFound:
                raise Unreadable(execution, "Temporal has deleted it since") from None

        due = await self._db(progress.try_again, self._database, self._shards, LOOK_AGAIN)
        await self._keep(await self._read([partial(again, execution) for execution in due]))

    async def _look_for_beginnings(self) -> None:
        """Where runs went on from executions that are not stored, find out whether Temporal has deleted those."""
        missing: dict[str, str] = {}
        firsts = list(self._continued)
        for start in range(0, len(firsts), PAGE):
            chunk = firsts[start : start + PAGE]
            is_known = await self._db(progress.known, self._database, chunk)
            for first in chunk:
                run_id = self._continued[first]
                if first in is_known:
                    continue
                try:
                    await look(self._client, WorkflowExecution(workflow_id=run_id, run_id=first))
                except NotFound:
                    missing[first] = run_id
                except Unreadable:
                    continue
        await self._db(progress.mark_beginning_gone, self._database, missing)
        self._counts.gaps += len(missing)

    async def _known(self, infos: Sequence[WorkflowExecutionInfo]) -> Mapping[str, bool]:
        """Which of these need not be read, and whether they are stored as closed."""
        if self._anew:
            return {}
        ids = [info.execution.run_id for info in infos]
        return await asyncio.to_thread(progress.known, self._database, ids)

    def _mine(self, page: Sequence[WorkflowExecutionInfo]) -> list[WorkflowExecutionInfo]:
        return [info for info in page if shard_of(info.execution.workflow_id) in self._shards]

    async def _read_all(self, infos: Sequence[WorkflowExecutionInfo]) -> None:
        async def read(info: WorkflowExecutionInfo) -> IndexedRun | None:
            with contextlib.suppress(NotFound):  # it was deleted in between
                return replace(await read_listed(self._client, info), replaces=self._anew)
            return None

        writing: asyncio.Task[int] | None = None
        try:
            for start in range(0, len(infos), BATCH):
                answers = await self._read([partial(read, info) for info in infos[start : start + BATCH]])
                if writing is not None:
                    self.found += await writing
                # The next are read meanwhile.
                writing = asyncio.create_task(self._keep(answers))
                if self._show is not None:
                    self._show(self._counts)
            if writing is not None:
                self.found += await writing
        finally:
            if writing is not None:
                await asyncio.gather(writing, return_exceptions=True)

    async def _read(
        self, reads: Collection[Callable[[], Awaitable[IndexedRun | None]]]
    ) -> list[IndexedRun | BaseException | None]:
        """Read some at a time."""

        async def within(read: Callable[[], Awaitable[IndexedRun | None]]) -> IndexedRun | None:
            async with self._gate:
                return await read()

        return await asyncio.gather(*map(within, reads), return_exceptions=True)

    async def _keep(self, answers: Collection[IndexedRun | BaseException | None]) -> int:
        """Write what was read together, and keep aside what cannot be read.

        Returns:
            How many were written.
        """
        unreadable = [answer for answer in answers if isinstance(answer, Unreadable)]
        batch = [answer for answer in answers if isinstance(answer, IndexedRun)]
        failed = await self._db(_written, self._database, batch) if batch else []
        if any(found.doubtful for found in unreadable):
            # One that cannot be read must not hold up the others for ever, nor an outage leave all of them aside.
            await count_all(self._client)
        failed += [(found.execution, str(found)) for found in unreadable]
        await self._db(progress.keep_aside, self._database, failed)
        self._counts.stored += len(batch)
        self._counts.unreadable += len(failed)
        self._counts.gaps += sum(read.gap is not None for read in batch)
        self._continued |= {read.chain: read.run.id for read in batch if read.chain != read.run.execution_id}
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Unreadable):
                raise answer
        return len(batch)

    async def _db(self, call: Callable[..., T], *given: object) -> T:
        return await asyncio.to_thread(call, *given)


def _written(database: Database, batch: Sequence[IndexedRun]) -> list[tuple[WorkflowExecution, str]]:
    """Write a batch; what the database refuses is found out one by one."""
    try:
        write_runs(database, batch)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - what others wrote into a history must not stop the rest
        if len(batch) == 1:
            run = batch[0].run
            aside = WorkflowExecution(workflow_id=run.id, run_id=run.execution_id)
            return [(aside, f"cannot be stored: {type(error).__name__}: {error}")]
        return [failed for one in batch for failed in _written(database, [one])]
    return []
