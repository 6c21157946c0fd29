"""All runs: list, count, act."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from holdfast.client.run_lines import RunSummary, query_of, summary_of
from holdfast.client.start import unavailable
from holdfast.errors import InvalidConfiguration, InvalidInput, Unavailable
from holdfast.options import UNSET
from holdfast.run_filter import RunFilter

if TYPE_CHECKING:
    from datetime import timedelta

    from holdfast.client.bulk import BulkAction, BulkReport
    from holdfast.client.client import Client
    from holdfast.client.description import RunDescription
    from holdfast.client.run import Run
    from holdfast.run_filter import FacetName
    from holdfast.states import RunState
    from holdfast.store.audit_log import Action
    from holdfast.store.runs import Facet, Page
    from holdfast.stuck import StuckRun


class Runs:
    """`client.runs`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(
        self,
        *,
        state: RunState | str | None = None,
        open: bool | None = None,
        workflow: str | None = None,
        limit: int = 100,
    ) -> list[RunSummary]:
        """The latest runs: open ones first, then those that ended last. The server's visibility lags by a moment
        (about a second).

        Args:
            state: Only runs that ended so, such as `"failed"`. The states of open runs (`running`, `waiting`, ...) are
                known to the history: `search`.
            open: Only open runs, or only closed ones.
            workflow: Only runs of this workflow or DAG.
            limit: At most so many.

        Raises:
            InvalidInput: Temporal does not know the state.
            Unavailable: The server does not answer.
        """
        found: list[RunSummary] = []
        async for summary in self._iterate(state, open, workflow):
            found.append(summary)
            if len(found) == limit:
                break
        return found

    async def _iterate(
        self, state: RunState | str | None, open: bool | None, workflow: str | None
    ) -> AsyncIterator[RunSummary]:
        query = query_of(state, open, workflow, searchable=self._client.searchable)
        try:
            async for execution in self._client.temporal.list_workflows(query):
                if execution.status == WorkflowExecutionStatus.CONTINUED_AS_NEW:
                    continue
                summary = await summary_of(execution)
                if workflow in (None, summary.workflow, execution.workflow_type):
                    yield summary
        except RPCError as exc:
            raise unavailable(exc) from exc

    async def search(
        self, filter: RunFilter | None = None, *, limit: int = 100, after: str | None = None
    ) -> Page:
        """Runs from the history that `holdfast indexer` keeps, newest first: also those that Temporal has deleted, and
        by what Temporal cannot search for, as a part of a text. The history lags by about a second.

        Args:
            filter: Which runs. Default: all.
            limit: How many at most, 1 to 1000.
            after: `next` of the page before.

        Returns:
            A page: its `runs`, and `next`, which is `None` on the last one.

        Raises:
            InvalidInput: `limit` or `after` cannot be.
            Unavailable: No indexer has read this namespace yet, or the database does not answer.
            InvalidConfiguration: There is no database, or that of another namespace.
        """
        from holdfast.store.runs import list_runs

        return await self._client.store.read(list_runs, filter or RunFilter(), limit=limit, after=after)

    async def facets(
        self, by: FacetName, filter: RunFilter | None = None, *, limit: int = 100
    ) -> builtins.list[Facet]:
        """The values that the runs of the history have, the most frequent first, each with the newest run that has it:
        `facets("fingerprint")` are the kinds of failures.

        Args:
            by: `"state"`, `"workflow"`, `"version"`, `"queue"`, `"error_type"` or `"fingerprint"`.
            filter: Of which runs. Default: all.
            limit: How many values at most.

        Raises:
            InvalidInput: Nothing is counted by that.
            Unavailable, InvalidConfiguration: As `search`.
        """
        from holdfast.store.runs import facet_runs

        return await self._client.store.read(facet_runs, filter or RunFilter(), by, limit=limit)

    async def stored(self, run_id: str) -> RunDescription:
        """A run as the history keeps it, also where Temporal has deleted it: inputs and results are cut, and there are
        no open waits.

        Raises:
            NotFound: The history does not have it.
            Unavailable, InvalidConfiguration: As `search`.
        """
        from holdfast.store.told import describe_stored

        return await self._client.store.read(describe_stored, run_id)

    async def actions(
        self,
        run_id: str | None = None,
        *,
        subject: str | None = None,
        by: str | None = None,
        what: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> builtins.list[Action]:
        """What operators did, the latest first: who, what, why, when, and what came of it.

        Args:
            run_id: Only what was done to this run.
            subject: Only what was done to this, such as `"trigger nightly"`, `"workflow fulfil"` or `"database"`.
            by: Only what this person did.
            what: Only actions of this kind, such as `"cancel"`.
            limit: How many at most.
            before: Only those before this one: the `id` of the last of a page.

        Raises:
            Unavailable: No history is kept, or the database does not answer.
            InvalidConfiguration: `sqlalchemy` is missing.
        """
        if not self._client.store.kept:
            raise Unavailable(
                "no history is kept here, and so no record of actions: start `holdfast indexer`"
            )
        from holdfast.store.audit_log import list_actions

        return await self._client.store.call(
            list_actions, run_id=run_id, subject=subject, who=by, what=what, limit=limit, before=before
        )

    async def bulk(
        self,
        action: BulkAction,
        filter: RunFilter,
        *,
        reason: str = "",
        by: str | None = None,
        max_runs: int = 1000,
        concurrency: int = 10,
        dry_run: bool = False,
        progress: Callable[[BulkReport], None] | None = None,
    ) -> BulkReport:
        """Do one thing to all runs of the history that fit a filter, newest first; runs that start meanwhile are left
        alone. How far it has come is noted in the record of actions after each hundred: an operation that was
        interrupted is continued by `continue_bulk`.

        Args:
            action: `"cancel"`, `"terminate"`, `"pause"` or `"resume"` (of open runs), or `"retry"` (of runs that ended
                without a result).
            filter: Which runs.
            reason: Why, for the record.
            by: Who does it. Default: the user of this machine.
            max_runs: Where more fit, nothing is done.
            concurrency: How many at a time, 1 to 100.
            dry_run: Only tell how many fit, with the newest ten as `examples`.
            progress: Called now and then.

        Raises:
            InvalidInput: More than `max_runs` fit, or there is no such action.
            Unavailable: No indexer has read this namespace yet, or Temporal or the database does not answer.
            InvalidConfiguration: There is no database, or that of another namespace.
        """
        from holdfast.client import bulk

        if dry_run:
            return await bulk.preview_bulk(self._client, action, filter)
        return await bulk.begin(
            self._client,
            action,
            filter,
            reason=reason,
            by=by,
            max_runs=max_runs,
            concurrency=concurrency,
            progress=progress,
        )

    async def continue_bulk(
        self,
        bulk_id: int,
        *,
        by: str | None = None,
        concurrency: int = 10,
        progress: Callable[[BulkReport], None] | None = None,
    ) -> BulkReport:
        """Go on with a bulk operation that was interrupted; one that has ended only tells its report. Of the hundred
        runs at which it was interrupted, those that it was done to already are skipped, or get the same request once
        more where that changes nothing: none is retried twice.

        Args:
            bulk_id: `id` of its report, also in the record of actions.
            by: Who goes on with it. Default: the user of this machine.
            concurrency: How many at a time, 1 to 100.
            progress: Called now and then.

        Raises:
            NotFound: There is none of that id.
            Unavailable, InvalidConfiguration: As `bulk`.
        """
        from holdfast.client import bulk

        return await bulk.resume(self._client, bulk_id, by=by, concurrency=concurrency, progress=progress)

    async def retry(self, run_id: str, *, by: str = "", reason: str = "") -> Run[Any]:
        """As `Run.retry`."""
        run: Run[Any] = self._client.get(run_id)
        return await run.retry(by=by, reason=reason)

    async def fork(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        input: Any = UNSET,
        id: str | None = None,
        by: str = "",
        reason: str = "",
    ) -> Run[Any]:
        """As `Run.fork`."""
        run: Run[Any] = self._client.get(run_id)
        return await run.fork(from_step=from_step, input=input, id=id, by=by, reason=reason)

    async def stuck(
        self,
        *,
        workflow: str | None = None,
        limit: int = 1000,
        progress: Callable[[str], None] | None = None,
    ) -> builtins.list[StuckRun]:
        """Open runs that do not move, and why, the longest first: without a worker, with code that no longer fits,
        paused, between two attempts of a step, under a limit, or waiting for a decision or a message. Where the
        history is up to date it is asked (for a run that has been open for long, it may be a minute old), else
        Temporal, run by run.

        Args:
            workflow: Only runs of this workflow or DAG.
            limit: From the history so many at most, the oldest first; from Temporal the latest so many are looked at.
            progress: Called with a line of text now and then.

        Raises:
            Unavailable: The server does not answer.
        """
        from holdfast.client.stuck import find_stuck

        return await find_stuck(self._client, workflow=workflow, limit=limit, progress=progress)

    async def lag(self) -> timedelta | None:
        """How far the history is behind Temporal; `None` where there is none."""
        try:
            return await self._client.store.lag()
        except (Unavailable, InvalidConfiguration):
            return None

    async def count(
        self,
        filter: RunFilter | None = None,
        /,
        *,
        state: RunState | str | None = None,
        open: bool | None = None,
        workflow: str | None = None,
    ) -> int:
        """How many runs there are: with a filter in the history, else in Temporal.

        Args:
            filter: Which runs of the history.
            state: Of Temporal: a closed one, such as `"failed"`.
            open: Of Temporal: only open runs, or only closed ones.
            workflow: Of Temporal: of this workflow or DAG.

        Raises:
            InvalidInput: Temporal does not know the state, or a filter goes with other arguments.
            Unavailable: The server does not answer. With a filter also as `search`.
        """
        if filter is not None:
            from holdfast.store.runs import count_runs

            if state is not None or open is not None or workflow is not None:
                raise InvalidInput("count takes a filter, or state, open and workflow: put them into it")
            return await self._client.store.read(count_runs, filter)
        if workflow is not None and not self._client.searchable:
            return len([run async for run in self._iterate(state, open, workflow)])
        query = query_of(state, open, workflow, searchable=self._client.searchable)
        try:
            return (await self._client.temporal.count_workflows(query)).count
        except RPCError as exc:
            raise unavailable(exc) from exc
