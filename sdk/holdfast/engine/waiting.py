"""Waiting for messages and for people."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from temporalio import workflow

from holdfast.engine.calls import Calls
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.inbox import Inbox, OpenWait
from holdfast.errors import WaitTimeout

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Waiting:
    """The waits of one run.

    Args:
        inbox: Where messages arrive.
        calls: Counts approvals, so that each has a name of its own.

    Attributes:
        suspending: Whether open waits end only to begin anew in the next execution.
    """

    def __init__(self, inbox: Inbox, calls: Calls) -> None:
        self._inbox = inbox
        self._calls = calls
        self._adapters: dict[Any, TypeAdapter[Any]] = {}
        self.suspending = False

    async def wait_for(self, name: str, hint: Any, timeout: timedelta | None) -> Any:
        """Wait for a message of that name and type."""
        wait = OpenWait(name=name, kind="wait", adapter=self._adapter(hint), deadline=_deadline(timeout))
        return await self._wait(wait, timeout)

    async def approval(self, prompt: str, form: Any, timeout: timedelta | None, name: str | None) -> Any:
        """Wait for a decision."""
        adapter = self._adapter(form)
        wait = OpenWait(
            name=name or self._approval_name(prompt),
            kind="approval",
            adapter=adapter,
            prompt=prompt,
            form=adapter.json_schema(),
            deadline=_deadline(timeout),
        )
        try:
            return await self._wait(wait, timeout)
        finally:
            if not self.suspending:
                self._inbox.decide(wait.name)

    async def _wait(self, wait: OpenWait, timeout: timedelta | None) -> Any:
        if (self._calls.reuse is not None or wait.kind == "wait") and self._inbox.has(wait.name):
            try:
                # What is there, or was decided in an earlier execution, is no wait to show. Thousands of messages that
                # came while no worker was there would else be more than one workflow task can answer.
                return self._inbox.take(wait)
            except LookupError:
                pass
        self._inbox.open(wait)
        try:
            while True:
                left = max(wait.deadline - workflow.now(), timedelta(0)) if wait.deadline else None
                await workflow.wait_condition(
                    lambda: self._inbox.has(wait.name),
                    timeout=left,
                    timeout_summary=f"{wait.kind} {wait.name}",
                )
                try:
                    return self._inbox.take(wait)
                except LookupError:
                    continue
        except TimeoutError as exc:
            raise WaitTimeout(f"nobody answered {wait.name!r} within {timeout}") from exc
        finally:
            self._inbox.close(wait)

    def _approval_name(self, prompt: str) -> str:
        slug = "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in prompt.lower()).split())[
            :60
        ]
        slug = slug or "approval"
        self._calls.ordinals[f"approval {slug}"] += 1
        count = self._calls.ordinals[f"approval {slug}"]
        return slug if count == 1 else f"{slug}-{count}"

    def _adapter(self, hint: Any) -> TypeAdapter[Any]:
        if hint not in self._adapters:
            self._adapters[hint] = make_adapter(hint)
        return self._adapters[hint]


def _deadline(timeout: timedelta | None) -> datetime | None:
    return workflow.now() + timeout if timeout is not None else None
