"""The options that say when and how a trigger starts its runs, the same for `create` and `update`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast

import typer

from holdfast import InvalidInput
from holdfast.triggers import Calendar, Cron, Interval, OnEvent, OnWebhook
from holdfast.triggers.declared import On
from holdfast_server.cli.command import Body
from holdfast_server.cli.duration import duration

Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]

_WHEN = "When"
_HOW = "How, of --cron, --calendar and --every"
_CALENDAR = ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the options say."""

    on: On | None
    """When, if it is said."""

    policy: Mapping[str, Any]
    """The fields of a `Policy` that are given."""


def moment(text: str | datetime) -> datetime:
    """A date or time in ISO 8601, in UTC unless it names another zone.

    Raises:
        typer.BadParameter: It is none.
    """
    if isinstance(text, datetime):
        return text
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no time: write 2026-11-01, 2026-11-01T12:00 or 2026-11-01T12:00+01:00"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _text(help: str, metavar: str | None = None) -> Any:
    return Annotated[str | None, typer.Option(help=help, metavar=metavar, rich_help_panel=_WHEN)]


def _duration(help: str, panel: str = _WHEN) -> Any:
    option = typer.Option(parser=duration, metavar="DURATION", help=help, rich_help_panel=panel)
    return Annotated[timedelta | None, option]


def _moment(help: str) -> Any:
    return Annotated[
        datetime | None, typer.Option(parser=moment, metavar="TIME", help=help, rich_help_panel=_WHEN)
    ]


_OPTIONS: dict[str, Any] = {
    "cron": _text("A cron expression, such as '0 9 * * 1-5'."),
    "calendar": _text("Fields of the calendar, such as 'day_of_month=1 hour=9,17'.", "FIELD=NUMBERS..."),
    "timezone": _text("The time zone of --cron and --calendar. Default: UTC."),
    "every": _duration("The time between two runs."),
    "offset": _duration("How much later than --every."),
    "event": _text("An event of runs, such as workflow.failed, or a channel."),
    "webhook": _text("The name of the secret that signs messages.", "SECRET"),
    "where": _text("A condition, for events and webhooks.", "CEL"),
    "make": _text("What makes the input of events and webhooks. Default: payload.", "CEL"),
    "jitter": _duration("Start up to so much later, of times."),
    "start": _moment("The first moment that counts, of times; in UTC unless it names a zone."),
    "end": _moment("The last moment that counts."),
    "overlap": Annotated[
        Overlap | None,
        typer.Option(help="What happens while the run before is open. Default: skip.", rich_help_panel=_HOW),
    ],
    "catchup_window": _duration("How late a run may start after an outage. Default: 1d.", _HOW),
    "pause_on_failure": Annotated[
        bool | None,
        typer.Option(
            "--pause-on-failure/--no-pause-on-failure",
            help="Pause it when a run fails. Default: no.",
            rich_help_panel=_HOW,
        ),
    ],
}
_POLICY = ("overlap", "catchup_window", "pause_on_failure")


def with_when(body: Body) -> Body:
    """Give a command these options: its parameter `chosen` becomes them."""
    signature = inspect.signature(body, eval_str=True)

    @functools.wraps(body)
    async def invoke(**given: Any) -> int | None:
        options = {name: given.pop(name) for name in _OPTIONS}
        policy = {name: value for name in _POLICY if (value := options.pop(name)) is not None}
        return await body(chosen=Chosen(on=_on(**options), policy=policy), **given)

    own = [p for p in signature.parameters.values() if p.name != "chosen"]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=None)
        for name, annotation in _OPTIONS.items()
    ]
    kept = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    invoke.__signature__ = signature.replace(parameters=kept + options)  # type: ignore[attr-defined]
    return invoke


def _on(
    *,
    cron: str | None,
    calendar: str | None,
    timezone: str | None,
    every: timedelta | None,
    offset: timedelta | None,
    event: str | None,
    webhook: str | None,
    where: str | None,
    make: str | None,
    **bounds: Any,
) -> On | None:
    said = [one for one in (cron, calendar, every, event, webhook) if one is not None]
    details = (timezone, offset, where, make, *bounds.values())
    if not said and all(one is None for one in details):
        return None
    if len(said) != 1:
        raise InvalidInput("say when: one of --cron, --calendar, --every, --event and --webhook")
    timed = event is None and webhook is None
    if timed and (where or make):
        raise InvalidInput("--where and --make are for --event and --webhook")
    if not timed and any(one is not None for one in bounds.values()):
        raise InvalidInput("--jitter, --start and --end are for --cron, --calendar and --every")
    if timezone is not None and cron is None and calendar is None:
        raise InvalidInput("--timezone is for --cron and --calendar")
    if offset is not None and every is None:
        raise InvalidInput("--offset is for --every")
    if cron is not None:
        return Cron(cron, timezone=timezone or "UTC", **bounds)
    if calendar is not None:
        return Calendar(timezone=timezone or "UTC", **_fields(calendar), **bounds)
    if every is not None:
        return Interval(every, offset=offset or timedelta(0), **bounds)
    if event is not None:
        return OnEvent(event, where=where, input=make or "payload")
    return OnWebhook(secret=cast("str", webhook), where=where, input=make or "payload")


def _fields(text: str) -> dict[str, Any]:
    found: dict[str, str] = {}
    for part in text.split():
        name, sign, value = part.partition("=")
        if name not in _CALENDAR or not sign or name in found:
            raise InvalidInput(
                f"--calendar: {part!r} is no field: write 'day_of_month=1 hour=9,17', of {', '.join(_CALENDAR)}"
            )
        found[name] = value
    if not found:
        raise InvalidInput(f"--calendar: name at least one of {', '.join(_CALENDAR)}")
    return found
