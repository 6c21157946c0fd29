"""Open approvals: list them, decide them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from temporalio.service import RPCError

from holdfast.checks import check_literal
from holdfast.client.actions import recorded
from holdfast.client.start import unavailable
from holdfast.engine.inbox import DAG_MEMO, WAITING, WAITS_MEMO
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from holdfast.client.client import Client


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One open approval."""

    run_id: str
    workflow: str
    name: str
    """By which it is decided."""

    prompt: str
    form: dict[str, Any]
    """JSON Schema of the answer."""

    since: datetime
    deadline: datetime | None


class Approvals:
    """`client.approvals`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(self, *, run_id: str | None = None) -> list[Approval]:
        """The open approvals, longest waiting first. The list follows the server's visibility, which lags by a
        moment (about a second).

        Args:
            run_id: Only those of this run.

        Raises:
            InvalidInput: The run id is none.
            Unavailable: The server does not answer.
        """
        try:
            found = [approval async for approval in self._open(run_id)]
        except RPCError as exc:
            raise unavailable(exc) from exc
        return sorted(found, key=lambda approval: approval.since)

    async def _open(self, run_id: str | None) -> AsyncIterator[Approval]:
        query = 'ExecutionStatus = "Running"'
        if self._client.searchable:
            query += f" AND {WAITING.name} IS NOT NULL"
        if run_id is not None:
            check_literal("run_id", run_id)
            query += f' AND WorkflowId = "{run_id}"'
        async for execution in self._client.temporal.list_workflows(query):
            memo = await execution.memo()
            waits: list[dict[str, Any]] = memo.get(WAITS_MEMO) or []
            for wait in waits:
                if wait["kind"] == "approval":
                    yield Approval(
                        run_id=execution.id,
                        workflow=memo.get(DAG_MEMO, execution.workflow_type),
                        name=wait["name"],
                        prompt=wait["prompt"] or "",
                        form=wait["form"] or {},
                        since=datetime.fromisoformat(wait["since"]),
                        deadline=datetime.fromisoformat(wait["deadline"]) if wait["deadline"] else None,
                    )

    async def decide(self, run_id: str, name: str, answer: Any = None, **fields: Any) -> str:
        """Decide an approval.

        Args:
            run_id: The run.
            name: The approval's name, as `list` shows it.
            answer: The form filled in: a model or a dict. Or give its fields as keywords:
                `decide(run, "ship-it", approved=True, by="Ada")`.

        Returns:
            `"delivered"`, or `"queued"` when no worker runs.

        Raises:
            InvalidInput: The answer does not fit the form.
            AlreadyDecided: Somebody was faster.
            RunClosed, NotFound: The run has ended, or there is none.
        """
        if answer is None and not fields:
            raise InvalidInput("an answer is missing: give a value or fields such as approved=True")
        given: Any = fields if answer is None else answer
        by: object = (
            cast("Mapping[str, object]", given).get("by")
            if isinstance(given, Mapping)
            else getattr(given, "by", None)
        )
        who = by if isinstance(by, str) else None
        async with recorded(self._client, "decide", run_id=run_id, by=who, approval=name):
            return await self._client.get(run_id).send(name, given)
