"""From what has happened to the run that a trigger starts for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from temporalio.client import Client as TemporalClient

from holdfast.client.trigger_schedule import run_prefix
from holdfast.client.trigger_target import Target, start_run, target_from, with_input
from holdfast.engine.data.step_data import StepData
from holdfast.errors import AlreadyStarted, InvalidInput, NotFound
from holdfast.options import UNSET
from holdfast.triggers.events import Listening, input_of, listening_from, passes

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.store.triggers import StoredTrigger


@dataclass(frozen=True)
class Listener:
    """A stored trigger, ready to start runs."""

    stored: StoredTrigger

    @cached_property
    def on(self) -> Listening:
        """What it listens to.

        Raises:
            InvalidInput: This version cannot read it.
        """
        return listening_from(self.stored.condition)

    @cached_property
    def _target(self) -> Target:
        return target_from(self.stored.target)

    def wants(self, values: Mapping[str, object]) -> bool:
        """Whether its condition holds; see `passes`."""
        return passes(self.on, values)

    def run_id(self, identity: str) -> str:
        """The id of the run that is started for what has this identity."""
        return run_prefix(self.stored.name) + identity

    async def start(
        self,
        temporal: TemporalClient,
        data: StepData,
        values: Mapping[str, object],
        *,
        identity: str,
        depth: int,
        searchable: bool,
    ) -> bool:
        """Start the run, unless there is or was one for what has this identity.

        Args:
            temporal: Where.
            data: Writes the input.
            values: `payload` and `event`.
            identity: Tells what has happened from all else; letters and digits.
            depth: How many runs in a row were started by one another's events, this one included.
            searchable: Whether the namespace has our search attributes.

        Returns:
            Whether it was started.

        Raises:
            InvalidInput, PayloadTooLarge: The input cannot be made, or does not fit.
            Unavailable: The server does not answer.
        """
        made: Any = input_of(self.on, values)
        return await start_run(
            temporal,
            data,
            with_input(self._target, self.stored.target, made),
            run_id=self.run_id(identity),
            trigger=self.stored.name,
            depth=depth,
            searchable=searchable,
        )


@dataclass(frozen=True, kw_only=True)
class Redelivery:
    """What a dead letter of a trigger starts, by the trigger as it is stored now."""

    target: Target
    trigger: str
    depth: int

    async def start(self, client: Client, run_id: str) -> None:
        """Start the run.

        Raises:
            AlreadyStarted: There is or was one of that id.
            PayloadTooLarge: The input does not fit.
            Unavailable: The server does not answer.
        """
        started = await start_run(
            client.temporal,
            StepData(client.temporal.data_converter),
            self.target,
            run_id=run_id,
            trigger=self.trigger,
            depth=self.depth,
            searchable=client.searchable,
        )
        if not started:
            raise AlreadyStarted(f"run {run_id!r} exists already", run=client.get(run_id))


async def redelivery(client: Client, letter: int, kept: Mapping[str, Any], input: Any) -> Redelivery:
    """Make ready what a dead letter of a trigger starts.

    Args:
        client: Whose triggers.
        letter: The letter's id.
        kept: Its payload.
        input: Another input, as the trigger's `input` would make it; `UNSET`: the one that was made.

    Raises:
        NotFound: The trigger is not there any more.
        InvalidInput: No input was made, or not all of it was kept, and none is given; or it does not fit.
        Unavailable: The database does not answer.
    """
    from holdfast.store.triggers import find_trigger

    name = str(kept.get("trigger"))
    stored = await client.store.call(find_trigger, name)
    if stored is None:
        raise NotFound(
            f"dead letter {letter} is of trigger {name!r}, which is not there any more: start the run by hand, and "
            "discard the letter"
        )
    if input is UNSET:
        if not kept.get("input_made"):
            raise InvalidInput(
                f"no input was made for dead letter {letter}, or it was too large to be kept: give the input"
            )
        input = kept["input"][0]
    target = with_input(target_from(stored.target), stored.target, input)
    return Redelivery(target=target, trigger=name, depth=int(kept.get("depth", 1)))
