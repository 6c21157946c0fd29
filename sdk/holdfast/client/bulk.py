"""One action on many runs, chosen by a filter: with a preview, a cap, and a record from which it can be continued."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from holdfast.client.actions import record, recorded, together, whoever
from holdfast.client.start import unavailable
from holdfast.errors import AlreadyStarted, HoldfastError, InvalidInput, NotFound, RunClosed, Unavailable
from holdfast.jsonable import Jsonable
from holdfast.run_filter import RunFilter
from holdfast.states import RunState

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.client.run import Run
    from holdfast.store.audit_log import Action
    from holdfast.store.bulks import Bulk
    from holdfast.store.runs import StoredRun

BulkAction: TypeAlias = Literal["cancel", "terminate", "pause", "resume", "retry"]

MAX_RUNS: Final = 1000

_CHUNK: Final = 100
"""How many runs are done between two records of how far it has come."""

_EXAMPLES: Final = 10
_PROBLEMS: Final = 20
_ATTEMPTS: Final = 5


@dataclass(frozen=True, kw_only=True)
class BulkReport(Jsonable):
    """What a bulk operation would do, does, or has done."""

    id: int | None
    """By which it is continued; `None` of a preview."""

    action: BulkAction
    matched: int
    """How many runs fit when it began."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    """To which it did not apply any more: they had ended, or went on already."""

    finished: bool = False
    examples: Sequence[StoredRun] = ()
    """Of a preview: the newest ten."""

    problems: Sequence[str] = field(default_factory=list[str])
    """Of the first twenty that failed: which, and why."""


async def preview_bulk(client: Client, action: BulkAction, chosen: RunFilter) -> BulkReport:
    """What it would be done to."""
    from holdfast.store.runs import count_runs, list_runs

    chosen = narrowed(action, chosen)
    matched = await client.store.read(count_runs, chosen)
    page = await client.store.read(list_runs, chosen, limit=_EXAMPLES)
    return BulkReport(id=None, action=action, matched=matched, examples=page.runs)


async def begin(
    client: Client,
    action: BulkAction,
    chosen: RunFilter,
    *,
    reason: str,
    by: str | None,
    max_runs: int,
    concurrency: int,
    progress: Callable[[BulkReport], None] | None,
) -> BulkReport:
    """Do it to all that fit."""
    from holdfast.store.bulks import Bulk, begin_bulk
    from holdfast.store.runs import count_runs

    chosen = narrowed(action, chosen)
    matched = await client.store.read(count_runs, chosen)
    if matched > max_runs:
        raise InvalidInput(
            f"{matched} runs fit, and max_runs is {max_runs}: name more of what you mean, or another maximum"
        )
    bulk = Bulk(
        action=action,
        filter=chosen.to_dict(),
        reason=reason,
        by=whoever(by),
        matched=matched,
        max_runs=max_runs,
    )
    bulk = await client.store.call(begin_bulk, bulk)
    return await _Work(client, bulk, concurrency, progress).run()


async def resume(
    client: Client,
    bulk_id: int,
    *,
    by: str | None,
    concurrency: int,
    progress: Callable[[BulkReport], None] | None,
) -> BulkReport:
    """Go on with what was interrupted; what is done to runs is recorded as of whoever began it."""
    from holdfast.store.bulks import take_bulk

    async with recorded(client, "continue bulk", subject=f"bulk {bulk_id}", by=by):
        bulk = await client.store.read(take_bulk, bulk_id)
    return await _Work(client, bulk, concurrency, progress).run()


def narrowed(action: BulkAction, chosen: RunFilter) -> RunFilter:
    """The filter, and the states in which the action makes sense.

    Raises:
        InvalidInput: There is no such action.
    """
    if action not in get_args(BulkAction):
        raise InvalidInput(f"action={action!r}: use one of {', '.join(get_args(BulkAction))}")
    if action != "retry":
        return replace(chosen, open=True) if chosen.open is None else chosen
    ended = [state for state in RunState if state.closed and state is not RunState.COMPLETED]
    return replace(chosen, states=ended) if not chosen.states else chosen


class _Work:
    def __init__(
        self,
        client: Client,
        bulk: Bulk,
        concurrency: int,
        progress: Callable[[BulkReport], None] | None,
    ) -> None:
        if not 1 <= concurrency <= 100:
            raise InvalidInput(f"concurrency={concurrency}: use 1 to 100")
        self._client = client
        self._bulk = bulk
        self._gate = asyncio.Semaphore(concurrency)
        self._progress = progress
        self._away: Unavailable | None = None
        self._taken_up = {run_id for run_id, _ in bulk.doing}
        """Runs to which it may have been done before an interruption."""

        self._skipped: set[str] = set()

    async def run(self) -> BulkReport:
        """Chunk by chunk; before each it is noted which runs are in it, and after it what came of them."""
        from holdfast.store.bulks import save_bulk

        bulk, store = self._bulk, self._client.store
        while not bulk.finished:
            following = bulk.after
            if not bulk.doing:
                following = await self._choose()
                if bulk.doing:
                    await store.call(save_bulk, bulk)
            is_last = following is None or not bulk.doing
            with together() as actions:
                try:
                    await asyncio.gather(*(self._one(run_id, seen) for run_id, seen in bulk.doing))
                    if self._away is not None:
                        raise self._away  # what is left of the chunk is done when the operation is continued
                except BaseException:
                    bulk.finished = is_last and not bulk.doing
                    with contextlib.suppress(HoldfastError):  # then all of the chunk is done again
                        await asyncio.shield(store.call(save_bulk, bulk, self._to_record(actions)))
                    raise
            bulk.finished = is_last
            await store.call(save_bulk, bulk, self._to_record(actions))
            self._tell()
        return self._report()

    async def _choose(self) -> str | None:
        from holdfast.store.runs import list_runs

        bulk = self._bulk
        left = bulk.max_runs - bulk.done - bulk.failed - bulk.skipped
        if left < 1:
            return None
        page = await self._client.store.read(
            list_runs, RunFilter.from_dict(bulk.filter), limit=min(_CHUNK, left), after=bulk.after
        )
        bulk.doing = [[run.id, run.execution_id] for run in page.runs]
        bulk.after = page.next
        return page.next

    async def _one(self, run_id: str, seen: str) -> None:
        bulk = self._bulk
        async with self._gate:
            if self._away is not None:
                return
            try:
                await self._patiently(run_id, seen)
                bulk.done += 1
            except Unavailable as error:
                self._away = error
                return
            except (RunClosed, AlreadyStarted, NotFound) as error:
                bulk.skipped += 1
                await self._skip(run_id, error)
            except HoldfastError as error:
                bulk.failed += 1
                if len(bulk.problems) < _PROBLEMS:
                    bulk.problems.append(f"{run_id}: {error}")
            bulk.doing.remove([run_id, seen])
        if self._progress is not None and (bulk.done + bulk.failed + bulk.skipped) % 10 == 0:
            self._tell()

    async def _skip(self, run_id: str, error: HoldfastError) -> None:
        bulk, said = self._bulk, f"skipped: {error}"
        if run_id in self._taken_up:
            said += f"; bulk operation {bulk.id} may have done it before it was interrupted"
        self._skipped.add(run_id)
        await record(self._client, bulk.action, run_id=run_id, why=bulk.reason, by=bulk.by, result=said)

    def _to_record(self, actions: Sequence[Action]) -> list[Action]:
        """Without the refusals of runs that were skipped, which did not fail."""
        return [
            action
            for action in actions
            if action.run_id not in self._skipped or not action.result.startswith("failed: ")
        ]

    async def _patiently(self, run_id: str, seen: str) -> None:
        """As `_act`; a server that is away for a moment is asked again."""
        for attempt in range(_ATTEMPTS):
            try:
                await self._act(run_id, seen)
                return
            except Unavailable:
                if attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(0.5 * 2**attempt)

    async def _act(self, run_id: str, seen: str) -> None:
        bulk = self._bulk
        run: Run[Any] = self._client.get(run_id)
        match bulk.action:
            case "cancel":
                await run.cancel(bulk.reason, by=bulk.by)
            case "terminate":
                await run.terminate(bulk.reason, by=bulk.by)
            case "pause":
                await run.pause(bulk.reason, by=bulk.by)
            case "resume":
                await run.resume(bulk.reason, by=bulk.by)
            case _:
                # Whatever began since it was chosen stays as it is; so does what was retried before an interruption.
                if await self._execution(run_id) != seen:
                    raise AlreadyStarted(f"run {run_id!r} goes on already", run=run)
                await run.retry(by=bulk.by, reason=bulk.reason)

    async def _execution(self, run_id: str) -> str | None:
        from temporalio.service import RPCError, RPCStatusCode

        try:
            return (await self._client.temporal.get_workflow_handle(run_id).describe()).run_id
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise NotFound(f"Temporal has deleted run {run_id!r}") from error
            raise unavailable(error) from error

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._report())

    def _report(self) -> BulkReport:
        bulk = self._bulk
        return BulkReport(
            id=bulk.id,
            action=bulk.action,  # type: ignore[arg-type]
            matched=bulk.matched,
            done=bulk.done,
            failed=bulk.failed,
            skipped=bulk.skipped,
            finished=bulk.finished,
            problems=list(bulk.problems),
        )
