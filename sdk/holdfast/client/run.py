"""One run, from the outside."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from holdfast.authoring.registry import registry
from holdfast.client.actions import recorded
from holdfast.client.came_through import came_through, leave, update_id
from holdfast.client.description import RunDescription
from holdfast.client.goes_on import GoesOn
from holdfast.client.logs import LogLine, logs_of
from holdfast.client.start import check_called, check_message_name, unavailable
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.failures import rebuilt, run_failed
from holdfast.engine.shell import NO_QUERY, PAUSE_SIGNAL, RESUME_SIGNAL, STATE_QUERY
from holdfast.errors import GiveUp, HoldfastError, InvalidInput, NotFound, RunClosed, WaitTimeout
from holdfast.states import RunState

if TYPE_CHECKING:
    from holdfast.client.cost import RunCost
    from holdfast.client.frames import Frames
    from holdfast.spec.diagram import DiagramFormat

R = TypeVar("R")
T = TypeVar("T")

logger = logging.getLogger("holdfast.run")

_UPDATE_PATIENCE = timedelta(seconds=2)
"""How long `send` waits for a worker to check the message before it leaves it in the run's history."""

_STUCK_AFTER = 5.0
"""Seconds after which `result` looks whether the run is stuck, and says so once."""

_STEPPING_IN = ("skip_node", "retry_node")
"""Updates of a DAG by which an operator steps in."""

Sent = Literal["delivered", "queued"]


class Run(GoesOn[R]):
    """A run that was started. Cheap to make; nothing is read until a method is called.

    Attributes:
        id: The run's id, stable over retry, continue-as-new and reset.
    """

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    @property
    def _handle(self) -> WorkflowHandle[Any, Any]:
        return self._client.temporal.get_workflow_handle(self.id, result_type=RawValue)

    async def result(self, *, timeout: timedelta | None = None) -> R:
        """Wait for the end and return the result.

        Args:
            timeout: How long to wait; the run goes on after that. Default: without limit.

        Raises:
            RunFailed: It failed; `RunCancelled`, `RunTerminated` and `RunTimedOut` are kinds of it.
            WaitTimeout: It has not ended in time.
            NotFound: There is no such run.
        """
        warn = asyncio.create_task(self._warn_if_stuck())
        try:
            async with asyncio.timeout(timeout.total_seconds() if timeout else None):
                raw: RawValue = await self._handle.result()
        except WorkflowFailureError as exc:
            failed = run_failed(exc, self.id)
            raise failed from failed.__cause__
        except TimeoutError as exc:
            raise WaitTimeout(f"run {self.id!r} has not ended within {timeout}; it goes on") from exc
        except RPCError as exc:
            raise self._error(exc) from exc
        finally:
            warn.cancel()
        return await self._client.data.decode(
            raw.payload, self._adapter, where=f"The result of run {self.id!r}"
        )

    async def _warn_if_stuck(self) -> None:
        await asyncio.sleep(_STUCK_AFTER)
        try:
            description = await self.describe()
        except HoldfastError as exc:  # the wait for the result tells what is wrong
            logger.debug("run %s cannot be looked at: %s", self.id, exc)
            return
        if description.stuck:
            logger.warning("run %s is stuck: %s", self.id, description.stuck)

    async def logs(self, *, step: str | None = None) -> list[LogLine]:
        """What the run's steps have logged, oldest first, as far as workers have kept it.

        Args:
            step: Only of this step.

        Raises:
            Unavailable, InvalidConfiguration: The database does not answer, or is not installed.
        """
        return (await logs_of(self._client, self.id, step=step))[0]

    async def status(self) -> RunState:
        """The run's state."""
        return (await self.describe()).state

    async def describe(self) -> RunDescription:
        """Everything about the run: each step with state, attempts and times, why it waits, whether it is stuck.

        Raises:
            NotFound: There is no such run.
        """
        from holdfast.engine.history import describe_run  # slow to import, and few processes describe

        compensable = {step.name for step in registry().all_steps() if step.compensation}
        return await describe_run(self._client.temporal, self.id, compensable=compensable)

    async def diagram(self, format: DiagramFormat = "text") -> str:
        """A picture of what the run did: of a DAG its document with the states of its nodes, of any other run what its
        history tells. It needs no worker.

        Args:
            format: `"text"`, `"mermaid"`, `"dot"` or `"svg"`.

        Raises:
            NotFound: There is no such run.
            InvalidInput: There is no such format.
        """
        from holdfast.client.diagram import run_graph  # slow to import, and few processes draw
        from holdfast.spec.diagram import draw

        return draw(await run_graph(self._client.temporal, self.id), format)

    async def frames(self) -> Frames:
        """The recorded run as a row of moments, for a player: which step, wait or child changed to which state when,
        and the run's state, across continue-as-new. Nothing is executed, and no worker needed. `to_dict()` is JSON.

        Raises:
            NotFound: There is no such run.
        """
        from holdfast.client.playback import read_playback  # slow to import, and few processes play runs back

        return (await read_playback(self._client.temporal, self.id)).frames

    async def cost(self) -> RunCost:
        """What the run took: events, billable actions, bytes, round trips, tokens and money, over all its executions
        and without its child runs; and what could be saved. It needs no worker.

        Raises:
            NotFound: There is no such run.
        """
        from holdfast.client.playback import read_cost  # slow to import, and few processes ask

        compensable = {step.name for step in registry().all_steps() if step.compensation}
        return await read_cost(self._client.temporal, self.id, compensable=compensable)

    async def history(self) -> WorkflowHistory:
        """The run's Temporal history, for `replay_check` and tools.

        Raises:
            NotFound: There is no such run.
        """
        return await self._call(self._handle.fetch_history())

    async def events(self, *, follow: bool = False) -> AsyncIterator[dict[str, Any]]:
        """The run's events as Temporal recorded them, oldest first.

        Args:
            follow: Whether to wait for further ones until the run ends.
        """
        from google.protobuf.json_format import MessageToDict

        try:
            async for event in self._handle.fetch_history_events(wait_new_event=follow):
                yield MessageToDict(event)
        except RPCError as exc:
            raise self._error(exc) from exc

    async def send(self, name: str, value: Any = None, *, message_id: str | None = None) -> Sent:
        """Send a message for `wait_for(name, ...)` or `approval(...)`.

        It is checked by the run when a worker is there; otherwise it is kept in the run's history for later.

        Args:
            name: What the run waits for.
            value: The message.
            message_id: A run takes one message of each id: give one to send again what may have been sent. The last
                1,000 ids are remembered. Default: a new one.

        Returns:
            `"delivered"` when the run took it, `"queued"` when it will.

        Raises:
            InvalidInput: The run waits for another type, or its history is full and takes no more messages.
            AlreadyDecided: The approval was decided before.
            RunClosed: The run has ended.
            NotFound: There is no such run.
        """
        check_message_name(name)
        message_id = message_id or uuid.uuid4().hex
        # The envelope's id lets the run drop the signal when the update arrived after all.
        args = [value, {"id": message_id}]
        try:
            try:
                await self._update(name, args, update_id(message_id), _UPDATE_PATIENCE)
                return "delivered"
            except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as exc:
                if (task := asyncio.current_task()) and task.cancelling():
                    raise asyncio.CancelledError from exc  # Temporal's client gave the cancel another name
            except RPCError as exc:
                if exc.status not in (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.FAILED_PRECONDITION):
                    raise
            await leave(self._handle, name, args)
            return "queued"
        except RPCError as exc:
            error = await self._closed(exc)
            if isinstance(error, RunClosed) and await came_through(self._client, self.id, message_id):
                return "delivered"  # the reply was lost, or late, and the message has ended the run
            raise error from exc

    async def update(
        self,
        name: str,
        *args: Any,
        result: type[Any] = object,
        timeout: timedelta | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> Any:
        """Call an update that the workflow declares with `@workflow.update`; of a DAG `skip_node` or `retry_node`.

        Args:
            name: The update's name.
            *args: Its arguments.
            result: What it answers. Default: plain JSON values.
            timeout: How long to wait for an answer. Default: for ever.
            by, reason: Of the two of a DAG, for the record of actions: who does it (default: the user of this machine)
                and why. Others are not recorded.

        Raises:
            InvalidInput: The update refuses the arguments.
            RunClosed: The run has ended.
            NotFound: There is no such run or update.
            WaitTimeout: No worker answered in time.
        """
        check_called("an update", name)
        if name not in _STEPPING_IN:
            return await self._updated(name, args, result, timeout)
        what = name.replace("_", " ")
        async with recorded(self._client, what, run_id=self.id, why=reason, by=by, node=str(args[:1])):
            return await self._updated(name, args, result, timeout)

    async def _updated(
        self, name: str, args: tuple[Any, ...], result: type[Any], timeout: timedelta | None
    ) -> Any:
        try:
            payload = await self._update(name, args, None, timeout)
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as exc:
            raise WaitTimeout(f"no worker answered update {name!r} of run {self.id!r} in time") from exc
        except RPCError as exc:
            raise await self._closed(exc) from exc
        return await self._client.data.decode(payload, make_adapter(result if result is not object else Any))

    async def _update(self, name: str, args: Any, id: str | None, timeout: timedelta | None) -> Payload:
        try:
            async with asyncio.timeout(timeout.total_seconds() if timeout else None):
                raw: RawValue = await self._handle.execute_update(  # pyright: ignore[reportUnknownMemberType]
                    name, args=list(args), result_type=RawValue, id=id
                )
            return raw.payload
        except WorkflowUpdateFailedError as exc:
            cause = exc.cause
            if isinstance(cause, ApplicationError):
                raise rebuilt(cause) or InvalidInput(f"{cause.type}: {cause.message}") from exc
            raise GiveUp(f"update {name!r} of run {self.id!r} failed: {cause}") from exc

    async def query(self, name: str, *args: Any, result: type[Any] = object) -> Any:
        """Ask a query that the workflow declares with `@workflow.query`. It needs a worker.

        Raises:
            NotFound: There is no such run or query.
            InvalidInput: The query refuses the arguments, or fails.
            Unavailable: No worker answered in time.
        """
        check_called("a query", name)
        try:
            raw: RawValue = await self._handle.query(
                name, args=list(args), result_type=RawValue, rpc_timeout=timedelta(seconds=30)
            )
        except WorkflowQueryFailedError as exc:
            # The answer to a query that fails carries no type, only the message.
            error = NotFound if NO_QUERY in str(exc) else InvalidInput
            raise error(f"query {name!r} of run {self.id!r}: {exc}") from exc
        except RPCError as exc:
            raise self._error(exc) from exc
        return await self._client.data.decode(
            raw.payload, make_adapter(result if result is not object else Any)
        )

    async def state(self, type: type[Any] = object) -> Any:
        """What the workflow last gave to `set_state`, as plain JSON values or as `type`; of a DAG, every node as
        `DagView` and `NodeView` say. It needs a worker."""
        from holdfast.client.dag_state import add_attempts, has_running_nodes  # brings the documents along

        found = await self.query(STATE_QUERY, result=type)
        if has_running_nodes(found):
            described = await self._call(self._handle.describe())
            add_attempts(found, described.raw_description.pending_activities)
        return found

    async def cancel(self, reason: str = "", *, by: str | None = None) -> None:
        """Ask the run to stop. Its steps are cancelled, then its compensations run.

        Args:
            reason: Why, for the record of actions.
            by: Who asks. Default: the user of this machine.

        Raises:
            RunClosed, NotFound: It has ended, or there is none.
        """
        async with recorded(self._client, "cancel", run_id=self.id, why=reason, by=by):
            described = await self._call(self._handle.describe())
            if described.status != WorkflowExecutionStatus.RUNNING:
                # The server takes a cancel of a closed run without a word.
                raise await self._closed(RPCError("closed", RPCStatusCode.NOT_FOUND, b""))
            await self._call(self._handle.cancel())

    async def terminate(self, reason: str = "", *, by: str | None = None) -> None:
        """End the run at once. None of its code runs after that, compensation included.

        Args:
            reason: Why, for Temporal and for the record of actions.
            by: Who ends it. Default: the user of this machine.

        Raises:
            RunClosed, NotFound: It has ended, or there is none.
        """
        async with recorded(self._client, "terminate", run_id=self.id, why=reason, by=by):
            await self._call(self._handle.terminate(reason=reason or None))

    async def pause(self, reason: str = "", *, by: str = "") -> None:
        """Hold new steps; running ones finish.

        Raises:
            RunClosed, NotFound: It has ended, or there is none.
        """
        async with recorded(self._client, "pause", run_id=self.id, why=reason, by=by):
            await self._call(self._handle.signal(PAUSE_SIGNAL, {"reason": reason, "by": by}))

    async def resume(self, reason: str = "", *, by: str = "") -> None:
        """Let steps go on.

        Raises:
            RunClosed, NotFound: It has ended, or there is none.
        """
        async with recorded(self._client, "resume", run_id=self.id, why=reason, by=by):
            await self._call(self._handle.signal(RESUME_SIGNAL, {"by": by}))

    async def _call(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except RPCError as exc:
            raise await self._closed(exc) from exc

    async def _closed(self, error: RPCError) -> Exception:
        if error.status != RPCStatusCode.NOT_FOUND:
            return self._error(error)
        try:
            state = await self.status()
        except NotFound as exc:
            return exc
        return RunClosed(
            f"run {self.id!r} has ended ({state.value}); it takes no messages", state=state.value
        )

    def _error(self, error: RPCError) -> Exception:
        if error.status == RPCStatusCode.NOT_FOUND:
            return NotFound(f"there is no run {self.id!r} in namespace {self._client.namespace!r}")
        return unavailable(error)
