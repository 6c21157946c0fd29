"""A trigger as it is declared at a workflow. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Literal, cast, get_args

from holdfast.errors import InvalidInput
from holdfast.triggers.events import Listening, OnEvent, OnWebhook
from holdfast.triggers.timed import Calendar, Cron, Interval, Timed

Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]
"""What happens when the run before has not ended: this one is left out, waits (one of them, or all), ends the other, or
runs beside it. The names are Temporal's."""

On = Timed | Listening
"""What starts runs."""

CATCH_UP: Final = timedelta(days=1)
"""How late a run may start whose time came while the server was down, if nothing else is said."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_LEAST_CATCH_UP: Final = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a timed trigger starts its runs."""

    overlap: Overlap = "skip"
    """What happens when the run before has not ended."""

    catchup_window: timedelta = CATCH_UP
    """How late a run may start whose time came while the server was down; those that are later are left out. At least
    10 seconds. Default: a day."""

    pause_on_failure: bool = False
    """Whether the trigger is paused when a run fails or times out."""

    def __post_init__(self) -> None:
        if self.overlap not in get_args(Overlap):
            raise InvalidInput(f"overlap={self.overlap!r}: use one of {', '.join(get_args(Overlap))}")
        window = cast("object", self.catchup_window)
        if not isinstance(window, timedelta) or window < _LEAST_CATCH_UP:
            raise InvalidInput(f"catchup_window={window!r}: use a timedelta of 10 seconds or more")


@dataclass(frozen=True)
class Trigger:
    """What starts runs of the workflow that declares it:
    `@workflow(triggers=[Trigger(Cron("0 9 * * *"), args=("eu",))])`.

    Raises:
        InvalidInput: Something in it cannot be.
    """

    on: On
    """When."""

    name: str | None = field(default=None, kw_only=True)
    """By which it is found. Default: the workflow's name, if it declares one trigger."""

    args: Sequence[Any] = field(default=(), kw_only=True)
    """The arguments of each run; for events and webhooks their `input` makes them."""

    policy: Policy = field(default=Policy(), kw_only=True)
    """For timed triggers."""

    queue: str | None = field(default=None, kw_only=True)
    """Default: the workflow's."""

    timeout: timedelta | None = field(default=None, kw_only=True)
    """How long a run may take. Default: the workflow's."""

    priority: int | None = field(default=None, kw_only=True)
    """1 (first) to 5 (last)."""

    def __post_init__(self) -> None:
        check_on(self.on)
        if self.name is not None:
            check_name(self.name)
        if isinstance(self.on, OnEvent | OnWebhook):
            if self.args:
                raise InvalidInput(
                    f"args={self.args!r}: {type(self.on).__name__}(input=...) makes the run's input"
                )
            if self.policy != Policy():
                raise InvalidInput("overlap, catchup_window and pause_on_failure are for timed triggers")

    @property
    def kind(self) -> str:
        """`cron`, `calendar`, `interval`, `event` or `webhook`."""
        return kind_of(self.on)


def kind_of(on: On) -> str:
    """`cron`, `calendar`, `interval`, `event` or `webhook`."""
    return type(on).__name__.removeprefix("On").lower()


def check_on(on: object) -> None:
    """Refuse what starts nothing.

    Raises:
        InvalidInput: It is none of the kinds.
    """
    if not isinstance(on, Cron | Calendar | Interval | OnEvent | OnWebhook):
        raise InvalidInput(
            f"on={on!r:.200}: use Cron(...), Interval(...), Calendar(...), OnEvent(...) or OnWebhook(...)"
        )


def check_name(name: str) -> str:
    """A name that a trigger may have: it becomes a part of run ids and of addresses.

    Raises:
        InvalidInput: It is empty, too long or holds other characters.
    """
    if not isinstance(cast("object", name), str) or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"trigger {name!r:.200}: a name is 1 to 128 letters, digits and . _ -, and begins with none of . -"
        )
    return name


def declared(triggers: Sequence[Trigger | On], workflow: str) -> Mapping[str, Trigger]:
    """The triggers of a workflow by name.

    Raises:
        InvalidInput: One cannot be, misses a name, or has that of another.
    """
    found: dict[str, Trigger] = {}
    for one in triggers:
        trigger = one if isinstance(one, Trigger) else Trigger(one)
        if trigger.name is None and len(triggers) > 1:
            raise InvalidInput(
                f"workflow {workflow!r} declares {len(triggers)} triggers: give each a name, as in "
                f"Trigger({type(trigger.on).__name__}(...), name='nightly')"
            )
        name = check_name(trigger.name or workflow)
        if name in found:
            raise InvalidInput(f"workflow {workflow!r} declares two triggers {name!r}")
        found[name] = replace(trigger, name=name)
    return found
