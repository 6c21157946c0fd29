"""What a retried or forked run is given of what was done before, and which of its calls gets what. Pure.

A call is looked up by the name that it has in program order (`charge-2`) and by a hash of its arguments. Where calls
of one step run side by side, their order depends on what ended first, and may be another one now: then a call gets what
one with equal arguments gave, whatever its number. Nothing is given twice.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from temporalio.api.common.v1 import Payload

from holdfast.engine.data.refs import genuine_refs

GIVEN_MEMO: Final = "holdfast.given"
"""What the run is given."""

ORIGIN_MEMO: Final = "holdfast.origin"
"""What the run goes on from: `kind`, `run`, `execution`, and `by` and `reason`, who did it and why."""

REUSED_MEMO: Final = "holdfast.reused"
"""What it took of that since the last note: `given`, ranges of positions, and `changed`, names of calls."""

ARGUMENTS: Final = "holdfast-arguments"
"""In the metadata of a local step's result: the hash of its arguments, which its marker leaves out."""

Kind = Literal["retry", "fork"]

_SUFFIX: Final = re.compile(r"(@[0-9a-f]{8})+$")
_NUMBER: Final = re.compile(r"(?:\[\d+\])?(?:-\d+)?$")


def plain_id(call_id: str) -> str:
    """The id of a call without what tells it from the same call of an earlier execution."""
    return _SUFFIX.sub("", call_id)


def relative(run_id: str, parent: str) -> str:
    """The id of a child run, without that of its parent where it begins with it."""
    return run_id.removeprefix(parent) if run_id.startswith(f"{parent}:") else run_id


def digest(payloads: Iterable[Payload]) -> str:
    """A hash of arguments."""
    found = hashlib.sha256()
    for payload in payloads:
        encoding = payload.metadata.get("encoding", b"")
        found.update(b"%d %d " % (len(encoding), len(payload.data)) + encoding + payload.data)
    return found.hexdigest()[:24]


@dataclass(kw_only=True)
class Entry:
    """One call of an earlier execution."""

    key: str
    """Its name in program order: `charge-2`; of a node `enrich[7]`; of a child run its id, see `relative`."""
    name: str
    """The type of the activity or of the workflow."""
    digest: str | None
    """Of its arguments; None where they are not known."""
    ran_as: str = ""
    """The activity id under which it ran last; of a child run what the keys of its steps end in."""
    result: Payload | None = None
    """None if it did not complete, or was undone."""
    undone: bool = False
    inner: dict[str, Any] | None = None
    """Of a child run that did not complete: what it is given itself."""
    child: bool = False
    execution: str = ""
    """Temporal's id of the execution that it ran in."""
    undoable: bool = False
    """Whether it has a compensation, as far as its history says."""
    arguments: list[Payload] = field(default_factory=list[Payload])
    """With which its compensation is called: of a step its own, of a part of a map those of the run that undoes it.
    None where the history does not tell them."""
    open: bool = False
    """Whether it may have had an effect without having completed."""
    done_at: int = 0
    """Its place among all that completed, in their order, from 1."""
    foreign: bool = False
    """Whether another run did it, from which this one was forked: nothing here undoes it."""

    @property
    def group(self) -> tuple[bool, str, str]:
        """Calls of equal groups do the same with different arguments."""
        return self.child, self.name, "" if self.child else _NUMBER.sub("", self.key)

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        found: dict[str, Any] = {"key": self.key, "name": self.name, "digest": self.digest}
        if self.result is not None:
            found["result"] = _written(self.result)
        if self.arguments:
            found["arguments"] = [_written(payload) for payload in self.arguments]
        for name in _PLAIN_FIELDS:
            if value := getattr(self, name):
                found[name] = value
        return found

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Entry:
        """What `to_json` wrote."""
        result = document.get("result")
        fields: dict[str, Any] = {**document}
        fields["result"] = _read(result) if result is not None else None
        fields["arguments"] = [_read(text) for text in document.get("arguments", [])]
        return cls(**fields)


_PLAIN_FIELDS: Final = (
    "ran_as",
    "undone",
    "inner",
    "child",
    "execution",
    "undoable",
    "open",
    "done_at",
    "foreign",
)


def _written(payload: Payload) -> str:
    return base64.b64encode(payload.SerializeToString()).decode()


def _read(text: str) -> Payload:
    return Payload.FromString(base64.b64decode(text))


def label_of(entry: Entry) -> str:
    """A call as people name it: `charge`, `charge #2`, `enrich[7]`, `pay-child:1`."""
    name, _, number = entry.key.rpartition("-")
    if entry.child or not number.isdecimal():
        return entry.key.removeprefix(":")
    return name if number == "1" else f"{name} #{number}"


def is_own(entry: Entry) -> bool:
    """Whether Holdfast made the call for itself."""
    return entry.key.startswith("holdfast.") or (entry.name.startswith("holdfast.") and not entry.child)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a call gets."""

    entry: Entry | None = None
    """The call of the earlier execution that it stands for."""
    fresh: bool = False
    """Whether its keys must be other ones than any that was used before."""
    changed: bool = False
    """Whether it runs again only because its arguments are others now."""

    @property
    def result(self) -> Payload | None:
        """What it gives without running."""
        return None if self.entry is None or self.fresh else self.entry.result

    @property
    def foreign(self) -> bool:
        """Whether another run has done it, which alone may undo it."""
        return self.result is not None and self.entry is not None and self.entry.foreign


@dataclass(kw_only=True)
class Given:
    """What one run is given.

    Attributes:
        kind: How it goes on.
        mark: What the ids of calls end in that must differ from all before.
        entries: In program order.
        undone: What undid child runs: the activity ids and relative run ids, as they ran.
        spoken_for: Names of calls that others stood in for.
    """

    kind: Kind
    mark: str
    entries: list[Entry]
    undone: frozenset[str] = frozenset()
    spoken_for: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        if self.kind == "fork":
            # Of what the other run has begun and not completed, the ids say nothing in this one.
            self.entries = [one for one in self.entries if one.result is not None or one.inner is not None]
            for entry in self.entries:
                entry.foreign, entry.undoable, entry.arguments = True, False, []
        # Of several with one key, the first had it last.
        self._by_key = {entry.key: index for index, entry in reversed(list(enumerate(self.entries)))}
        self._left = set(range(len(self.entries)))
        self._same: dict[tuple[tuple[bool, str, str], str | None, bool], list[int]] = {}
        for index, entry in reversed(list(enumerate(self.entries))):
            self._same.setdefault((entry.group, entry.digest, entry.result is not None), []).append(index)

    def entry(self, key: str) -> Entry | None:
        """The call of that name."""
        index = self._by_key.get(key)
        return None if index is None else self.entries[index]

    def take(self, asked: Entry, *, undone: bool = False) -> tuple[int | None, Found]:
        """What a call gets, which nobody else gets then; and its position among the entries.

        Args:
            asked: The call: its key, name, digest and whether it is a child run.
            undone: Whether something undid it beside what its entry says.
        """
        index = self._match(asked)
        if index is None:
            exact = self._by_key.get(asked.key)
            known = exact is not None or asked.key in self.spoken_for
            changed = exact is not None and exact in self._left and self.entries[exact].result is not None
            return None, Found(fresh=known, changed=changed)
        self._left.discard(index)
        entry = self.entries[index]
        if entry.key != asked.key:
            self.spoken_for.add(entry.key)
        return index, Found(entry=entry, fresh=entry.undone or undone)

    def _match(self, asked: Entry) -> int | None:
        exact = self._by_key.get(asked.key)
        if exact is not None and (exact not in self._left or self.entries[exact].child != asked.child):
            exact = None
        there = self.entries[exact] if exact is not None else None
        same = there is not None and there.digest in (asked.digest, None)
        if same and there is not None and there.result is not None:
            return exact
        # What has completed with these arguments comes before what has not: nobody is to pay again because a number
        # is that of a call that failed.
        if (found := self._first(asked, done=True)) is not None:
            return found
        if same or (there is not None and there.inner is not None):
            return exact
        # Of a child run that did not complete, what it has done is bound to its own id.
        return None if asked.child else self._first(asked, done=False)

    def _first(self, asked: Entry, *, done: bool) -> int | None:
        places = self._same.get((asked.group, asked.digest, done), [])
        while places and places[-1] not in self._left:
            places.pop()
        return places[-1] if places else None

    @property
    def left(self) -> list[Entry]:
        """What no call has got."""
        return [self.entries[index] for index in sorted(self._left)]

    def to_json(self) -> dict[str, Any]:
        """What is left, as it travels."""
        left = self.left
        payloads = [payload for entry in left for payload in (entry.result, *entry.arguments) if payload]
        refs = {sha256 for payload in payloads for sha256 in genuine_refs(payload)}
        return {
            "kind": self.kind,
            "mark": self.mark,
            "entries": [entry.to_json() for entry in left],
            "undone": sorted(self.undone),
            "spoken_for": sorted(self.spoken_for),
            "refs": sorted(refs),  # in sight, so that what they refer to is not taken for garbage
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Given:
        """What `to_json` wrote."""
        return cls(
            kind=document["kind"],
            mark=document["mark"],
            entries=[Entry.of_json(entry) for entry in document["entries"]],
            undone=frozenset(document["undone"]),
            spoken_for=set(document["spoken_for"]),
        )


def ranges(positions: Iterable[int]) -> list[list[int]]:
    """Positions, as the first and the last one of each row of them."""
    found: list[list[int]] = []
    for position in sorted(positions):
        if found and found[-1][1] == position - 1:
            found[-1][1] = position
        else:
            found.append([position, position])
    return found


def positions(rows: Sequence[Sequence[int]]) -> list[int]:
    """What `ranges` was given."""
    return [position for first, last in rows for position in range(first, last + 1)]
