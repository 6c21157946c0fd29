"""How a run goes on after its end, and another one from where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from holdfast.client.actions import recorded
from holdfast.engine.data.adapters import make_adapter
from holdfast.options import UNSET

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from holdfast.client.again import RetryPlan
    from holdfast.client.client import Client
    from holdfast.client.step_control import What

R = TypeVar("R")


class GoesOn(Generic[R]):
    """The part of `Run` that retries and forks it, and steers its steps."""

    def __init__(self, client: Client, run_id: str, *, result: TypeAdapter[R] | None = None) -> None:
        self._client = client
        self.id = run_id
        self._adapter: TypeAdapter[Any] = result or make_adapter(Any)

    async def retry(self, *, by: str = "", reason: str = "") -> Self:
        """Let a run go on that failed, was cancelled, terminated or timed out: a new execution under the same id, with
        the same input, that is given the results of completed steps and children, and messages and decisions. Steps
        that did not complete, were undone, or get other arguments now run again.

        Args:
            by: Who does it, for the record.
            reason: Why, for the record.

        Raises:
            AlreadyStarted: It is open, a child of it is, or somebody else has retried it.
            InvalidInput: It has completed: there is nothing to retry.
            NotFound: There is no such run, or its beginning is past its retention.
            PayloadTooLarge: What it has done is more than may be given on.
            Unavailable: The server does not answer, or a result cannot be read here.
        """
        from holdfast.client import again  # slow to import, and few processes retry

        async with recorded(self._client, "retry", run_id=self.id, why=reason, by=by):
            await again.retry(self._client, self.id, by=by, reason=reason)
        return self

    async def preview_retry(self) -> RetryPlan:
        """What `retry` would give, and what would run again.

        Raises:
            AlreadyStarted, InvalidInput, NotFound, Unavailable: As `retry`.
        """
        from holdfast.client import again

        return await again.preview_retry(self._client, self.id)

    async def fork(
        self,
        *,
        from_step: str | None = None,
        input: Any = UNSET,
        id: str | None = None,
        by: str = "",
        reason: str = "",
    ) -> Self:
        """Start another run that is given what this one has done so far; this one is left as it is, open or not. The
        new run does not undo steps of this one.

        Args:
            from_step: `charge`, or `charge#2` for its second call: only what was begun before it is given; of a DAG, a
                node: all that does not depend on it. Default: all.
            input: Another input; a list of all arguments where the workflow takes several. Default: that of this run.
            id: The new run's id. Default: the workflow's name and a random part.
            by: Who does it, for the record.
            reason: Why, for the record.

        Raises:
            NotFound: There is no such run, its beginning is past its retention, or it has never begun that step.
            InvalidInput: The id or the input does not fit.
            AlreadyStarted: The id is taken.
            PayloadTooLarge, Unavailable: As `retry`.
        """
        from holdfast.client import again

        async with recorded(self._client, "fork", run_id=self.id, why=reason, by=by):
            new = await again.fork(
                self._client, self.id, from_step=from_step, input=input, id=id, by=by, reason=reason
            )
        return type(self)(self._client, new, result=self._adapter)

    async def preview_fork(self, *, from_step: str | None = None) -> RetryPlan:
        """What `fork` would give, and what would run again.

        Raises:
            NotFound, Unavailable: As `fork`.
        """
        from holdfast.client import again

        return await again.preview_fork(self._client, self.id, from_step)

    async def retry_now(self, step: str, *, by: str = "", reason: str = "") -> None:
        """Try a step at once that waits for its next attempt; its attempts count anew.

        Args:
            step: As in `charge`, `charge#2`, `enrich[7]`.
            by: Who does it, for the record.
            reason: Why, for the record.

        Raises:
            NotFound: There is no such run, or it has no such open step.
            InvalidInput: The step does not wait for its next attempt.
            RunClosed: The run has ended.
            Unavailable: The server does not answer, or is too old.
        """
        await self._control(step, "retry", by, reason)

    async def pause_step(self, step: str, *, by: str = "", reason: str = "") -> None:
        """Hold a step: an attempt that is under way goes on, and no other one begins until `resume_step`. Arguments
        and errors as for `retry_now`."""
        await self._control(step, "pause", by, reason)

    async def resume_step(self, step: str, *, by: str = "", reason: str = "") -> None:
        """Let a step go on that was held. Arguments and errors as for `retry_now`."""
        await self._control(step, "resume", by, reason)

    async def _control(self, step: str, what: What, by: str, reason: str) -> None:
        from holdfast.client.step_control import control

        async with recorded(self._client, f"{what} step", run_id=self.id, why=reason, by=by, step=step):
            await control(self._client, self.id, step, what, by=by, reason=reason)
