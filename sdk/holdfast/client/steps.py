"""Deferred steps, completed from outside by their token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalio.client import AsyncActivityHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from holdfast.authoring.registry import registry
from holdfast.client.start import unavailable
from holdfast.engine.tokens import read_token
from holdfast.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from holdfast.client.client import Client


class Steps:
    """`client.steps`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def complete(self, token: str, result: Any = None) -> None:
        """End a deferred step with a result.

        Args:
            token: From `step_info().token`, inside the step.
            result: What the step's declared result type takes. It is checked before it is sent where this process
                has imported the step; elsewhere a wrong one fails the run.

        Raises:
            InvalidInput: The token is none, or the result cannot travel or is of another type; the step still waits.
            NotFound: The step has ended, timed out or its run has ended.
        """
        name, task_token = read_token(token)
        step = registry().step(name)
        if step is not None:
            result = RawValue(await self._client.data.encode_result(result, step.signature.result, step=name))
        await self._call(self._handle(task_token).complete(result))

    async def fail(self, token: str, message: str, *, permanent: bool = False) -> None:
        """End this attempt of a deferred step with an error; it is tried again by its retry policy.

        Args:
            token: From `step_info().token`, inside the step.
            message: What happened.
            permanent: Whether not to try again.

        Raises:
            InvalidInput, NotFound: As `complete`.
        """
        _, task_token = read_token(token)
        error = ApplicationError(
            message, type="Permanent" if permanent else "StepError", non_retryable=permanent
        )
        await self._call(self._handle(task_token).fail(error))

    def _handle(self, task_token: bytes) -> AsyncActivityHandle:
        return self._client.temporal.get_async_activity_handle(task_token=task_token)

    async def _call(self, work: Any) -> None:
        try:
            await work
        except RPCError as exc:
            if exc.status == RPCStatusCode.NOT_FOUND:
                raise NotFound(
                    "no step waits for this token: it has ended, timed out, or its run has ended"
                ) from exc
            if exc.status == RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidInput(f"the token is not valid here: {exc.message}") from exc
            raise unavailable(exc) from exc
