"""Triggers that go by what happens: an event, or a call of a webhook. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal, cast

from holdfast.errors import InvalidInput
from holdfast.secrets import NAME

VARIABLES: Final[Mapping[str, object]] = {"payload": None, "event": None}
"""What expressions of triggers see: what the event carries, and what it is."""

KINDS: Final = (
    *(f"workflow.{what}" for what in ("started", "completed", "failed", "cancelled", "paused", "resumed")),
    *(f"step.{what}" for what in ("started", "completed", "failed", "retrying", "skipped", "compensated")),
    *(f"approval.{what}" for what in ("requested", "decided")),
    *(f"goal.{what}" for what in ("planned", "replanned")),
)
"""The events of runs. Whatever else is named is a channel, to which somebody publishes."""

_EVENT: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True)
class OnEvent:
    """Whenever an event happens that fits: `OnEvent("workflow.completed", where="payload.workflow == 'etl'")`.

    Whoever indexes the history looks at the events; each starts one run at most. Only events that happen after the
    trigger was made count.

    Raises:
        InvalidInput: An expression cannot be read, or names what is not there.
    """

    event: str
    """The kind of the event, such as `workflow.completed`, or the channel of those that are published."""

    where: str | None = field(default=None, kw_only=True)
    """A condition in CEL over `payload` and `event` (`kind`, `channel`, `run_id`, `at`). Default: all of them."""

    input: str | None = field(default="payload", kw_only=True)
    """What makes the run's input, in CEL. `None`: the workflow gets none."""

    def __post_init__(self) -> None:
        if not isinstance(cast("object", self.event), str) or not _EVENT.fullmatch(self.event):
            raise InvalidInput(f"event={self.event!r:.200}: name an event, such as 'workflow.completed'")
        families = {kind.partition(".")[0] for kind in KINDS}
        if self.event == "runs" or (self.event.partition(".")[0] in families and not self.of_runs):
            raise InvalidInput(f"event={self.event!r} is none of {', '.join(KINDS)}")
        _check_expressions(self.where, self.input)

    @property
    def of_runs(self) -> bool:
        """Whether it is about runs; else about what is published."""
        return self.event in KINDS

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": "event", "event": self.event, "where": self.where, "input": self.input}

    def __str__(self) -> str:
        return f"event {self.event}" + (f" where {self.where}" if self.where else "")


@dataclass(frozen=True, kw_only=True)
class OnWebhook:
    """Whenever somebody calls its address with a signed message: `OnWebhook(secret="BILLING_WEBHOOK")`.

    Messages are signed as Standard Webhooks has it (https://www.standardwebhooks.com); each id starts one run at most.

    Raises:
        InvalidInput: The secret is no name, or an expression cannot be read.
    """

    secret: str
    """The name of the secret that signs, as executors name theirs; never its value."""

    where: str | None = None
    """A condition in CEL over `payload`, the message, and `event` (`id`, `at`). Default: all of them."""

    input: str | None = "payload"
    """What makes the run's input, in CEL. `None`: the workflow gets none."""

    tolerance: timedelta = timedelta(minutes=5)
    """How old a message may be, and how far ahead its clock, from a second to an hour."""

    scheme: Literal["standard-webhooks"] = "standard-webhooks"

    def __post_init__(self) -> None:
        if not isinstance(cast("object", self.secret), str) or not NAME.fullmatch(self.secret):
            # The value may have been given in place of the name, so it is not repeated.
            raise InvalidInput(
                "secret= is the name of a secret: letters, digits, _ and -, such as 'BILLING_WEBHOOK'"
            )
        if self.scheme != "standard-webhooks":
            raise InvalidInput(f"scheme={self.scheme!r}: only 'standard-webhooks' is known")
        if not timedelta(seconds=1) <= self.tolerance <= timedelta(hours=1):
            raise InvalidInput(f"tolerance={self.tolerance!r}: use a timedelta from a second to an hour")
        _check_expressions(self.where, self.input)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "kind": "webhook",
            "secret": self.secret,
            "where": self.where,
            "input": self.input,
            "tolerance_seconds": self.tolerance.total_seconds(),
            "scheme": self.scheme,
        }

    def __str__(self) -> str:
        return f"webhook signed by {self.secret}" + (f" where {self.where}" if self.where else "")


Listening = OnEvent | OnWebhook


def listening_from(document: Mapping[str, Any]) -> Listening:
    """What `to_dict` has written.

    Raises:
        InvalidInput: It is none.
    """
    expressions = {"where": document.get("where"), "input": document.get("input")}
    if document.get("kind") == "event":
        return OnEvent(document["event"], **expressions)
    if document.get("kind") == "webhook":
        tolerance = timedelta(seconds=document["tolerance_seconds"])
        return OnWebhook(
            secret=document["secret"], tolerance=tolerance, scheme=document["scheme"], **expressions
        )
    raise InvalidInput(f"kind={document.get('kind')!r} is no trigger of this version")


def passes(on: Listening, values: Mapping[str, object]) -> bool:
    """Whether the condition holds.

    Args:
        on: The trigger.
        values: `payload` and `event`, as JSON values.

    Raises:
        InvalidInput: The condition has no value here, or none that is true or false. Also `TooCostly`.
    """
    from holdfast.spec.expressions import compile

    if on.where is None:
        return True
    return compile(on.where).evaluate_bool(values, max_elements=_MOST_ELEMENTS)


def input_of(on: Listening, values: Mapping[str, object]) -> Any:
    """The run's input; `None` if the workflow gets none.

    Raises:
        InvalidInput: The expression has no value here. Also `TooCostly`.
    """
    from holdfast.spec.expressions import compile

    if on.input is None:
        return None
    return compile(on.input).evaluate(values, max_elements=_MOST_ELEMENTS)


_MOST_ELEMENTS: Final = 10_000
"""What macros may visit: some tenths of a second at most, for one event."""


def _check_expressions(where: str | None, input: str | None) -> None:
    from holdfast.spec.expressions import compile

    for name, text in (("where", where), ("input", input)):
        if text is None:
            continue
        if not isinstance(cast("object", text), str):
            raise InvalidInput(f"{name}={text!r}: write an expression as text")
        try:
            compile(text).check_names(VARIABLES)
        except InvalidInput as error:
            raise InvalidInput(f"{name}: {error.message}", **error.details) from None
