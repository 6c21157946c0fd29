"""The latest runs of a server against today's code."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from temporalio.client import WorkflowExecution, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from holdfast.checks import check_literal
from holdfast.client.start import unavailable
from holdfast.engine.children import DAG_WORKFLOW, MAP_WORKFLOW
from holdfast.engine.inbox import DAG_MEMO
from holdfast.engine.parts import Parts
from holdfast.errors import NotFound
from holdfast.testing.replay import Histories, Replayed, load_histories, replay_each, serves, workflow_of

if TYPE_CHECKING:
    from holdfast.client.client import Client

Only = Literal["open", "closed"]

_AHEAD: Final = 8
"""So many histories are fetched at a time."""
_OWN: Final = "holdfast."


@dataclass(kw_only=True)
class ReplayedRuns:
    """What a check of many runs showed; it grows while the check goes on."""

    replayed: list[Replayed] = field(default_factory=list[Replayed])
    skipped: Counter[str] = field(default_factory=Counter[str])
    """Runs of workflows that the code does not have, by workflow."""

    gone_count: int = 0
    """Runs whose history was deleted before it could be read."""

    @property
    def differing(self) -> list[Replayed]:
        """Those that would not go on."""
        return [one for one in self.replayed if one.difference is not None]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "checked": len(self.replayed),
            "breaks": [one.to_dict() for one in self.differing],
            "skipped": dict(self.skipped),
            "gone": self.gone_count,
        }


async def replay_runs(
    client: Client,
    workflows: Sequence[object],
    *,
    last: int = 100,
    workflow: str | None = None,
    only: Only | None = None,
    on_progress: Callable[[ReplayedRuns], None] | None = None,
) -> ReplayedRuns:
    """Replay the latest runs of a server with today's code: open ones first, then those that ended last.

    Args:
        client: A connected client.
        workflows: As a `Worker` takes them. Runs of other workflows are skipped and counted; runs of DAGs are those of
            every worker.
        last: So many runs at most, without the skipped ones.
        workflow: Only runs of this workflow or DAG.
        only: Only open or only closed ones. Default: both.
        on_progress: Called after each run.

    Raises:
        InvalidInput: `workflow` is no name.
        NotFound: `workflow` is none of `workflows`, and no DAG that has run.
        Unavailable: The server does not answer.
    """
    found, parts = ReplayedRuns(), Parts(workflows)
    try:
        histories = _fetched(client, _chosen(client, parts, found, last, workflow, only), found)
        async for replayed in replay_each(histories, parts, client=client):
            found.replayed.append(replayed)
            if on_progress is not None:
                on_progress(found)
    except RPCError as exc:
        raise unavailable(exc) from exc
    finally:
        await parts.close()
    _check_known(found, parts, workflow)
    return found


async def replay_files(
    histories: Histories,
    workflows: Sequence[object],
    *,
    last: int | None = None,
    workflow: str | None = None,
    client: Client | None = None,
    on_progress: Callable[[ReplayedRuns], None] | None = None,
) -> ReplayedRuns:
    """As `replay_runs`, for files with histories: a folder, a file or a pattern.

    Args:
        histories: The files.
        workflows: As a `Worker` takes them.
        last: So many of those that began last. Default: all.
        workflow: Only runs of this workflow.
        client: Reads payloads that lie in its storage or are encrypted with its keys.
        on_progress: Called after each run.

    Raises:
        NotFound: No file is there; or `workflow` is none of `workflows`.
        InvalidInput: A file is no history.
    """
    read = await asyncio.to_thread(load_histories, histories)
    found, parts = ReplayedRuns(), Parts(workflows)
    read.sort(key=lambda history: history.events[0].event_time.ToNanoseconds(), reverse=True)
    chosen: list[WorkflowHistory] = []
    for history in read:
        name = workflow_of(history)
        if workflow is not None and name != workflow:
            continue
        if serves(parts, name):
            chosen.append(history)
        else:
            found.skipped[name] += 1

    async def given() -> AsyncIterator[WorkflowHistory]:
        for history in chosen[:last]:
            yield history

    try:
        async for replayed in replay_each(given(), parts, client=client):
            found.replayed.append(replayed)
            if on_progress is not None:
                on_progress(found)
    finally:
        await parts.close()
    _check_known(found, parts, workflow)
    return found


def _check_known(found: ReplayedRuns, parts: Parts, workflow: str | None) -> None:
    """A name that was misspelt, or is no more, must not look as if all were well."""
    if workflow is not None and not found.replayed and not serves(parts, workflow):
        raise NotFound(
            f"nothing was checked: the code has no workflow {workflow!r}, and no DAG of that name has run; it has: "
            f"{', '.join(sorted(parts.workflows)) or 'none'}"
        )


async def _chosen(
    client: Client, parts: Parts, found: ReplayedRuns, last: int, workflow: str | None, only: Only | None
) -> AsyncGenerator[WorkflowExecution]:
    terms = ['ExecutionStatus != "ContinuedAsNew"']
    if only is not None:
        terms.append(f'ExecutionStatus {"=" if only == "open" else "!="} "Running"')
    if workflow is not None:
        check_literal("workflow", workflow)
        terms.append(f'(WorkflowType = "{workflow}" OR WorkflowType = "{DAG_WORKFLOW}")')
    query, count = " AND ".join(terms), 0
    async for execution in client.temporal.list_workflows(query):
        name = execution.workflow_type
        if name.startswith(_OWN) and name not in (DAG_WORKFLOW, MAP_WORKFLOW):
            continue  # a part of Holdfast's own
        if name == DAG_WORKFLOW and workflow not in (None, name, (await execution.memo()).get(DAG_MEMO)):
            continue
        if not serves(parts, name):
            found.skipped[name] += 1
            continue
        yield execution
        count += 1
        if count == last:
            return


async def _fetched(
    client: Client, executions: AsyncIterator[WorkflowExecution], found: ReplayedRuns
) -> AsyncGenerator[WorkflowHistory]:
    """The histories in their order, some of them fetched ahead."""
    ahead: deque[asyncio.Task[WorkflowHistory | None]] = deque()
    try:
        async for execution in executions:
            ahead.append(asyncio.create_task(_history(client, execution)))
            if len(ahead) < _AHEAD:
                continue
            if (history := await ahead.popleft()) is not None:
                yield history
            else:
                found.gone_count += 1
        while ahead:
            if (history := await ahead.popleft()) is not None:
                yield history
            else:
                found.gone_count += 1
    finally:
        for task in ahead:
            task.cancel()


async def _history(client: Client, execution: WorkflowExecution) -> WorkflowHistory | None:
    handle = client.temporal.get_workflow_handle(execution.id, run_id=execution.run_id)
    try:
        return await handle.fetch_history()
    except RPCError as exc:
        if exc.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
