"""Which runs are meant. Plain values: importable without a database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from holdfast.errors import InvalidInput
from holdfast.states import RunState

FacetName: TypeAlias = Literal["state", "workflow", "version", "queue", "error_type", "fingerprint"]
"""What runs can be counted by."""

_TIMES: Final = ("started_from", "started_to", "closed_from", "closed_to")
_LISTS: Final = ("states", "workflows", "versions", "queues")


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs are meant: those that fit everything that is given. Empty means all."""

    states: Collection[RunState] = ()
    """Also as text, such as `["failed"]`."""

    workflows: Collection[str] = ()
    versions: Collection[str] = ()
    queues: Collection[str] = ()
    dag: bool | None = None
    """Only DAGs, or only code."""

    open: bool | None = None
    """Only open runs, or only closed ones."""

    started_from: datetime | None = None
    started_to: datetime | None = None
    """Before this moment, not at it."""

    closed_from: datetime | None = None
    closed_to: datetime | None = None
    fingerprint: str | None = None
    """Of the error, as `client.runs.facets("fingerprint")` and stored runs tell it."""

    error_type: str | None = None
    parent: str | None = None
    """The id of the run that started them."""

    text: str | None = None
    """A part of the run's id, its workflow, error, search attributes, or of what is kept of its input and result; upper
    and lower case are alike."""

    def __post_init__(self) -> None:
        """Refuses what nothing could fit.

        Raises:
            InvalidInput: A time has no zone, so nobody can tell when it is; there is no such state; or a list is
                one text.
        """
        for name in _TIMES:
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise InvalidInput(f"{name}={moment!r} has no time zone; add one, such as tzinfo=UTC.")
        for name in _LISTS:
            if isinstance(given := getattr(self, name), str):
                raise InvalidInput(f"{name}={given[:100]!r} is a text; give a list: [{given[:100]!r}].")
            object.__setattr__(self, name, tuple(given))  # so that equal filters are equal
        try:
            object.__setattr__(self, "states", tuple(RunState(state) for state in self.states))
        except ValueError as error:
            raise InvalidInput(f"{error}; use some of: {', '.join(RunState)}") from error

    def to_dict(self) -> dict[str, Any]:
        """What is given, as JSON values; `from_dict` makes the same filter of them."""
        found: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in _LISTS:
                value = [str(item) for item in value] or None
            if value is not None:
                found[entry.name] = value.isoformat() if isinstance(value, datetime) else value
        return found

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> RunFilter:
        """The filter that `to_dict` has told.

        Raises:
            InvalidInput: It names something else, or a value cannot be.
        """
        known = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise InvalidInput(f"a filter has no {unknown[0]!r}; it has: {', '.join(sorted(known))}")
        try:
            times = {name: datetime.fromisoformat(given[name]) for name in _TIMES if given.get(name)}
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"a time of the filter cannot be read: {error}") from error
        values: dict[str, Any] = {**given, **times}
        return cls(**values)
