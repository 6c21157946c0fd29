"""All runs: list, count, act."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError

from holdfast.client.start import unavailable
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.inbox import DAG, DAG_MEMO, PAUSED, WAITS_MEMO
from holdfast.errors import InvalidConfiguration, InvalidInput, Unavailable
from holdfast.options import UNSET
from holdfast.run_filter import RunFilter
from holdfast.states import RunState

if TYPE_CHECKING:
    from datetime import timedelta

    from holdfast.client.bulk import BulkAction, BulkReport
    from holdfast.client.client import Client
    from holdfast.client.description import RunDescription
    from holdfast.client.run import Run
    from holdfast.store.audit_log import Action
    from holdfast.store.runs import Facet, FacetName, Page
    from holdfast.stuck import StuckRun

_STATES = {
    WorkflowExecutionStatus.RUNNING: RunState.RUNNING,
    WorkflowExecutionStatus.COMPLETED: RunState.COMPLETED,
    WorkflowExecutionStatus.FAILED: RunState.FAILED,
    WorkflowExecutionStatus.CANCELED: RunState.CANCELLED,
    WorkflowExecutionStatus.TERMINATED: RunState.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT: RunState.TIMED_OUT,
}

_QUERIES = {
    RunState.RUNNING: 'ExecutionStatus = "Running"',
    RunState.COMPLETED: 'ExecutionStatus = "Completed"',
    RunState.FAILED: 'ExecutionStatus = "Failed"',
    RunState.CANCELLED: 'ExecutionStatus = "Canceled"',
    RunState.TERMINATED: 'ExecutionStatus = "Terminated"',
    RunState.TIMED_OUT: 'ExecutionStatus = "TimedOut"',
}


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One line of a list of runs."""

    id: str
    workflow: str
    """The name of the workflow, or of the DAG."""

    state: RunState
    """As the server's visibility knows it: an open run is `running`, `waiting` or `paused` here; `describe` says
    whether it is stuck or compensating."""

    queue: str
    started: datetime
    closed: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "id": self.id,
            "workflow": self.workflow,
            "state": self.state.value,
            "queue": self.queue,
            "started": self.started.isoformat(),
            "closed": self.closed.isoformat() if self.closed else None,
        }


class Runs:
    """`client.runs`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(
        self, *, state: RunState | str | None = None, workflow: str | None = None, limit: int = 100
    ) -> list[RunSummary]:
        """The latest runs: open ones first, then those that ended last. The server's visibility lags by a moment
        (about a second).

        Args:
            state: Only runs of this state: one that visibility knows (`running` or a closed one).
            workflow: Only runs of this workflow or DAG.
            limit: At most so many.

        Raises:
            InvalidInput: The state cannot be searched for.
            Unavailable: The server does not answer.
        """
        found: list[RunSummary] = []
        async for summary in self._iterate(state, workflow):
            found.append(summary)
            if len(found) == limit:
                break
        return found

    async def _iterate(self, state: RunState | str | None, workflow: str | None) -> AsyncIterator[RunSummary]:
        query = _query(state, workflow, searchable=self._client.searchable)
        try:
            async for execution in self._client.temporal.list_workflows(query):
                if execution.status == WorkflowExecutionStatus.CONTINUED_AS_NEW:
                    continue
                summary = await _summary(execution)
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
        workflow: str | None = None,
    ) -> int:
        """How many runs there are: with a filter in the history, else in Temporal.

        Args:
            filter: Which runs of the history.
            state: Of Temporal: one that visibility knows (`running` or a closed one).
            workflow: Of Temporal: of this workflow or DAG.

        Raises:
            InvalidInput: The state cannot be searched for, or a filter goes with a state or a workflow.
            Unavailable: The server does not answer. With a filter also as `search`.
        """
        if filter is not None:
            from holdfast.store.runs import count_runs

            if state is not None or workflow is not None:
                raise InvalidInput("count takes a filter or state and workflow, not both: put them into it")
            return await self._client.store.read(count_runs, filter)
        if workflow is not None and not self._client.searchable:
            return len([run async for run in self._iterate(state, workflow)])
        query = _query(state, workflow, searchable=self._client.searchable)
        try:
            return (await self._client.temporal.count_workflows(query)).count
        except RPCError as exc:
            raise unavailable(exc) from exc


def _query(state: RunState | str | None, workflow: str | None, *, searchable: bool) -> str:
    terms = ['ExecutionStatus != "ContinuedAsNew"']
    if state is not None:
        try:
            terms.append(_QUERIES[RunState(state)])
        except (KeyError, ValueError):
            known = ", ".join(item.value for item in _QUERIES)
            raise InvalidInput(f"state={str(state)!r} cannot be searched for; use one of: {known}") from None
    if workflow is not None:
        if not workflow or any(c in workflow for c in "\"'\\\x00\n"):
            raise InvalidInput(f"workflow={workflow!r} is no workflow name")
        # Where DAGs cannot be searched for by name, all of them are looked through.
        dag = f'{DAG.name} = "{workflow}"' if searchable else f'WorkflowType = "{DAG_WORKFLOW}"'
        terms.append(f'(WorkflowType = "{workflow}" OR {dag})')
    return " AND ".join(terms)


async def _summary(execution: WorkflowExecution) -> RunSummary:
    state = _STATES[execution.status] if execution.status is not None else RunState.PENDING
    is_dag = execution.workflow_type == DAG_WORKFLOW
    memo: Mapping[str, Any] = await execution.memo() if is_dag or state is RunState.RUNNING else {}
    if state is RunState.RUNNING:
        if execution.typed_search_attributes.get(PAUSED):
            state = RunState.PAUSED
        elif memo.get(WAITS_MEMO):
            state = RunState.WAITING
    return RunSummary(
        id=execution.id,
        workflow=memo.get(DAG_MEMO, execution.workflow_type),
        state=state,
        queue=execution.task_queue,
        started=execution.start_time,
        closed=execution.close_time,
    )
