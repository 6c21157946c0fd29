"""What has failed for good: look at it, do it again, or give it up."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from holdfast.client.actions import recorded
from holdfast.client.dead_runs import start_anew, values_of
from holdfast.client.served_input import check_served, served_schema
from holdfast.client.start import unavailable
from holdfast.errors import HoldfastError, InvalidInput, NotFound, TryAgain, Unavailable
from holdfast.jsonable import Jsonable
from holdfast.options import DEFAULT_QUEUE, UNSET
from holdfast.states import RunState

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.store.dead_letters import DeadLetter, Kind, LetterGroup, Status

_TRIES: Final = 20
"""How many of the runs that were to do a letter anew are looked at."""


@dataclass(frozen=True, kw_only=True)
class Redriven(Jsonable):
    """What came of redriving many dead letters."""

    matched: int
    done: int = 0
    failed: int = 0
    left_out: int = 0
    """Pending ones that fit too, and are of a kind that was not asked for, or compensations."""

    problems: list[str] = field(default_factory=list[str])
    """Of the first twenty that failed: which, and why."""

    letters: list[DeadLetter] = field(default_factory=list["DeadLetter"])
    """Those that were redriven, as they are now. The same list in all reports of one call."""


class DeadLetters:
    """`client.dead_letters`: failed runs, failed compensations, terminated runs with open compensations, and triggers
    that could not be delivered. An indexer makes them; runs that another run has started are their parent's affair."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(
        self,
        *,
        status: Status | None = None,
        kind: Kind | None = None,
        fingerprint: str | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> builtins.list[DeadLetter]:
        """Dead letters, the newest first.

        Args:
            status: `"pending"`, `"retrying"`, `"resolved"` or `"abandoned"`. Default: all.
            kind: `"run"`, `"compensation"` or `"trigger"`.
            fingerprint: Only those with this error.
            workflow: Only those of this workflow or DAG.
            run_id: Only those of this run.
            limit: How many at most.
            before: Only those before this one: the `id` of the last of a page.

        Raises:
            Unavailable: No indexer has read this namespace yet, or the database does not answer.
            InvalidConfiguration: There is no database, or that of another namespace.
        """
        from holdfast.store.dead_letters import LetterFilter, list_letters

        chosen = LetterFilter(
            status=status, kind=kind, fingerprint=fingerprint, workflow=workflow, run_id=run_id
        )
        return await self._client.store.read(list_letters, chosen, limit=limit, before=before)

    async def groups(
        self,
        *,
        status: Status | None = "pending",
        kind: Kind | None = None,
        workflow: str | None = None,
        limit: int = 100,
    ) -> builtins.list[LetterGroup]:
        """Dead letters by their error, the most frequent first, each with its newest letter.

        Args:
            status: Only those of this status; `None`: all.
            kind: Only those of this kind.
            workflow: Only those of this workflow or DAG.
            limit: How many groups at most.

        Raises:
            Unavailable, InvalidConfiguration: As `list`.
        """
        from holdfast.store.dead_letters import LetterFilter, group_letters

        chosen = LetterFilter(status=status, kind=kind, workflow=workflow)
        return await self._client.store.read(group_letters, chosen, limit=limit)

    async def count(
        self,
        *,
        status: Status | None = "pending",
        kind: Kind | None = None,
        fingerprint: str | None = None,
        workflow: str | None = None,
    ) -> int:
        """How many dead letters there are.

        Raises:
            Unavailable, InvalidConfiguration: As `list`.
        """
        from holdfast.store.dead_letters import LetterFilter, count_letters

        chosen = LetterFilter(status=status, kind=kind, fingerprint=fingerprint, workflow=workflow)
        return await self._client.store.read(count_letters, chosen)

    async def get(self, letter: int) -> DeadLetter:
        """One dead letter by its id.

        Raises:
            NotFound: There is none.
            Unavailable, InvalidConfiguration: As `list`.
        """
        from holdfast.store.dead_letters import get_letter

        return await self._client.store.read(get_letter, letter)

    async def redrive(
        self, letter: int, *, input: Any = UNSET, reason: str = "", by: str | None = None
    ) -> DeadLetter:
        """Do again what has failed. When it completes, the indexer resolves the letter; when it fails again, the letter
        is pending again.

        Without another input the run itself goes on, as with `run.retry()`. With one, a new run is started that is
        given what steps have done with the same arguments, as with `run.fork(input=...)`. Where Temporal has deleted
        the run, a new one is started from its beginning, by the name of its workflow and with the input that the
        history kept. Of a trigger what it starts now is started, with the input that it made.

        Args:
            letter: Its id.
            input: Another input: the argument, or the list of them where the workflow takes several. Of a trigger:
                what its `input` would make.
            reason: Why, for the record of actions.
            by: Who does it. Default: the user of this machine.

        Returns:
            The letter, `retrying`; `redriven_as` names the new run, if it is one.

        Raises:
            NotFound: There is no such letter, or its trigger is gone.
            InvalidInput: It is settled, or its run, or one that did it anew, is open or has completed by now; it is a
                compensation, which is not run by itself; the input cannot be; or of a run that Temporal has deleted not
                all of the input was kept.
            Unavailable, InvalidConfiguration: As `list`.
        """
        from temporalio.service import RPCError

        from holdfast.store.dead_letters import claim_letter, release_letter

        found = await self.get(letter)
        await self._check(found)
        subject = await self._subject(found)
        new_id = None if subject is not None and input is UNSET else _new_id(found, found.attempts + 1)
        anew = await self._anew(found, input) if subject is None else None
        call = self._client.store.call
        successor = new_id or (subject if subject == found.redriven_as else None)
        claimed = await call(claim_letter, letter, redriven_as=successor, expected=found.status)
        facts = {"letter": letter, "redriven_as": new_id, "input_edited": input is not UNSET}
        try:
            async with recorded(
                self._client, "redrive", run_id=found.run_id, why=reason, by=by, details=facts
            ):
                if subject is None:
                    assert anew is not None
                    await anew(new_id or "")
                elif new_id is None:
                    await self._client.get(subject).retry(by=by or "", reason=reason)
                else:
                    await self._client.get(subject).fork(input=input, id=new_id, by=by or "", reason=reason)
        except (
            BaseException
        ) as error:  # also of a call that is cancelled: else nobody would look at the letter again
            said = f"redriving failed: {str(error) or type(error).__name__}"
            # Refused for sure, nothing was started; else there may be a run, which must not be forgotten.
            refused = isinstance(error, HoldfastError) and not isinstance(error, TryAgain)
            kept = found.redriven_as if refused else successor
            with contextlib.suppress(HoldfastError):  # the database is away: tell the first error
                await asyncio.shield(call(release_letter, letter, said, redriven_as=kept))
            if isinstance(error, RPCError):
                raise unavailable(error) from error
            raise
        return claimed

    async def redrive_many(
        self,
        *,
        kind: Literal["run", "trigger"] | None = None,
        fingerprint: str | None = None,
        workflow: str | None = None,
        rate: float = 10.0,
        max_letters: int = 1000,
        reason: str = "",
        by: str | None = None,
        progress: Callable[[Redriven], None] | None = None,
    ) -> Redriven:
        """Redrive all pending letters that fit, the oldest first, without another input.

        It may be stopped at any time and called again: what was redriven is no longer pending.

        Args:
            kind: Only those of this kind. Default: runs and triggers; compensations are not redriven.
            fingerprint: Only those with this error.
            workflow: Only those of this workflow or DAG.
            rate: How many a second at most.
            max_letters: How many at most; where more fit, nothing is done.
            reason: Why, for the record of actions.
            by: Who does it. Default: the user of this machine.
            progress: Called after each.

        Raises:
            InvalidInput: More than `max_letters` fit, or the rate is none.
            Unavailable: As `list`; it says how many were redriven.
            InvalidConfiguration: As `list`.
        """
        if not rate > 0:
            raise InvalidInput(f"rate={rate}: use more than 0 a second")
        kinds: Sequence[Kind] = [kind] if kind else ["run", "trigger"]
        chosen: dict[str, Any] = {"fingerprint": fingerprint, "workflow": workflow}
        count = sum([await self.count(kind=one, **chosen) for one in kinds])
        left_out = await self.count(**chosen) - count
        if count > max_letters:
            raise InvalidInput(
                f"{count} dead letters fit, and max_letters is {max_letters}: name another maximum"
            )
        found = [await self.list(status="pending", kind=one, limit=max_letters, **chosen) for one in kinds]
        letters = sorted((letter for page in found for letter in page), key=lambda letter: letter.id)
        report = Redriven(matched=len(letters), left_out=max(left_out, 0))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number, letter in enumerate(letters):
            await asyncio.sleep(max(begun + number / rate - loop.time(), 0))
            try:
                report.letters.append(await self.redrive(letter.id, reason=reason, by=by))
                report = replace(report, done=report.done + 1)
            except Unavailable as error:
                told = f"{error.message}; {report.done} of {report.matched} were redriven before: do it again"
                raise Unavailable(told) from error
            except HoldfastError as error:
                problem = f"{letter.id} ({letter.run_id or letter.identity}): {error}"
                report = replace(report, failed=report.failed + 1, problems=[*report.problems, problem][:20])
            if progress is not None:
                progress(report)
        return report

    async def discard(self, letter: int, reason: str, *, by: str | None = None) -> DeadLetter:
        """Give a letter up: it is `abandoned`, with the reason. What has failed is not touched.

        Args:
            letter: Its id.
            reason: Why; it must be given.
            by: Who does it. Default: the user of this machine.

        Raises:
            NotFound: There is no such letter.
            InvalidInput: It is settled, or no reason is given.
            Unavailable, InvalidConfiguration: As `list`.
        """
        from holdfast.store.dead_letters import decide_letter

        if not reason.strip():
            raise InvalidInput("a dead letter is discarded for a reason: say which")
        found = await self.get(letter)
        async with recorded(
            self._client, "discard", run_id=found.run_id, why=reason, by=by, details={"letter": letter}
        ):
            return await self._client.store.call(decide_letter, letter, "abandoned", reason)

    async def _check(self, letter: DeadLetter) -> None:
        if letter.kind == "compensation":
            raise InvalidInput(
                f"dead letter {letter.id} is the compensation {_payload(letter).get('step')!r} of run "
                f"{letter.run_id!r}, and compensations are not run by themselves: undo it by hand and discard the "
                "letter, or let the run go on with run.retry()"
            )
        if letter.status not in ("pending", "retrying"):
            raise InvalidInput(f"dead letter {letter.id} is {letter.status}: there is nothing to redrive")
        for run in _runs(letter):
            # Whoever redrove it may have been killed before it did so; then it may be done again.
            with contextlib.suppress(NotFound):
                state = await self._client.get(run).status()
                if state is RunState.COMPLETED:
                    await self._resolve(letter, run)
                if not state.closed or state is RunState.COMPLETED:
                    done = "needs nothing any more" if state.closed else "is retrying already"
                    raise InvalidInput(f"dead letter {letter.id} {done}: run {run!r} is {state.value}")

    async def _resolve(self, letter: DeadLetter, run: str) -> None:
        from holdfast.store.dead_letters import decide_letter

        with contextlib.suppress(InvalidInput):  # the indexer was faster
            await self._client.store.call(decide_letter, letter.id, "resolved", f"run {run} completed")

    async def _subject(self, letter: DeadLetter) -> str | None:
        """The run that goes on or is forked: the one that did it anew, else the one that failed; `None` if Temporal has
        neither."""
        for run in (letter.redriven_as, letter.run_id):
            if run is not None:
                with contextlib.suppress(NotFound):
                    await self._client.get(run).status()
                    return run
        return None

    async def _anew(self, letter: DeadLetter, input: Any) -> Callable[[str], Awaitable[None]]:
        """What starts the run of a letter from its beginning, given its id."""
        if letter.kind == "trigger":
            from holdfast.client.trigger_delivery import redelivery

            made = await redelivery(self._client, letter.id, _payload(letter), input)
            return partial(made.start, self._client)
        values = values_of(letter, input)
        if input is not UNSET:
            queue = _payload(letter).get("queue") or DEFAULT_QUEUE
            schema = await served_schema(self._client, letter.workflow, queue)
            if schema is not None:
                check_served(letter.workflow, schema, values)
        return partial(start_anew, self._client, letter, values)


def _new_id(letter: DeadLetter, attempt: int) -> str:
    name = letter.run_id or letter.workflow or "redrive"
    return f"{name[:180]}.redrive-{letter.id}-{attempt}"


def _runs(letter: DeadLetter) -> list[str]:
    """Those that may have done it by now: its own, and the last ones that were to do it anew."""
    tries = range(letter.attempts, max(letter.attempts - _TRIES, 0), -1)
    known = [letter.redriven_as, letter.run_id, *(_new_id(letter, attempt) for attempt in tries)]
    return list(dict.fromkeys(run for run in known if run is not None))


def _payload(letter: DeadLetter) -> dict[str, Any]:
    return letter.payload or {}
