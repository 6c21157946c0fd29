"""What the workers of a namespace serve, put together from what each has published. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, cast

from holdfast.jsonable import Jsonable

Kind: TypeAlias = Literal["workflows", "steps", "executors"]

KINDS: Final[tuple[Kind, ...]] = ("workflows", "steps", "executors")


class Publisher(Protocol):
    """A worker at a queue, as the store remembers it: see `ServedBy` there."""

    @property
    def identity(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def hash(self) -> str: ...
    @property
    def build_id(self) -> str | None: ...
    @property
    def deployment(self) -> str | None: ...
    @property
    def holdfast(self) -> str: ...
    @property
    def started(self) -> datetime: ...
    @property
    def seen(self) -> datetime: ...


P = TypeVar("P", bound=Publisher)


@dataclass(frozen=True, kw_only=True)
class Build(Jsonable):
    """Workers of the same code, that serve the same."""

    name: str
    """The build id, after the deployment if there is one; also a part of the hash where two would have one name."""

    build_id: str | None
    deployment: str | None
    hash: str
    """Of what it serves."""

    holdfast: str
    """The version of Holdfast."""

    queues: Sequence[str]
    workers: Sequence[str]
    """The identities of those that are there now; empty if all are gone."""

    started: datetime
    """When the last of them started."""

    seen: datetime
    """When one of them last told of itself: they do so once an hour."""

    serves: Mapping[Kind, Sequence[str]] = field(default_factory=dict[Kind, Sequence[str]])
    """The names of all that it serves."""


@dataclass(frozen=True, kw_only=True)
class Offer(Jsonable):
    """A workflow, a step or an executor that workers serve."""

    name: str
    """Of an executor: the type of nodes."""

    description: str = ""
    """The first line of the docstring."""

    queues: Sequence[str] = ()
    """Where workers serve it."""

    builds: Sequence[str] = ()
    """The names of the builds that serve it as it stands here."""

    live: bool = False
    """Whether a worker is there now that serves it."""

    input_schema: Mapping[str, Any] | None = None
    """JSON Schema of the arguments, an object with one property per parameter; of an executor, of its config. `None` if
    it is too large to be published."""

    output_schema: Mapping[str, Any] | None = None
    """JSON Schema of the result."""

    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Those that are in force; durations in seconds."""

    aliases: Sequence[str] = ()
    """Former names of a step that are served too."""

    triggers: Sequence[Mapping[str, Any]] = ()
    """What a workflow declares to start it: `name`, `kind` and `on`, in words."""

    package: str | None = None
    """Of an executor: where it comes from."""


@dataclass(frozen=True, kw_only=True)
class Difference(Jsonable):
    """A name that means different things on one queue: which of them a run gets is chance."""

    kind: Kind
    name: str
    queue: str
    builds: Sequence[str]
    """Those that differ, the newest first; the catalogue shows what the newest serves."""


@dataclass(frozen=True, kw_only=True)
class Catalogue(Jsonable):
    """What workers serve. Of a queue without workers: what the last one served."""

    workflows: Sequence[Offer] = ()
    """By name; twice where queues have different ones of the same name."""

    steps: Sequence[Offer] = ()
    executors: Sequence[Offer] = ()
    builds: Sequence[Build] = ()
    """The newest first."""

    differences: Sequence[Difference] = ()

    def find(self, kind: Kind, name: str, *, queue: str | None = None) -> Offer | None:
        """The offer of that name, or alias of a step; where there are several, one of a worker that is there.

        Args:
            kind: What it is.
            name: Its name.
            queue: Only what is served at this queue.
        """
        offers = cast("Sequence[Offer]", getattr(self, kind))
        fit = [one for one in offers if name in (one.name, *one.aliases)]
        fit = [one for one in fit if queue is None or queue in one.queues]
        return max(fit, key=lambda one: (one.live, one.name == name), default=None)


def current(publishers: Iterable[P], live: Collection[tuple[str, str]]) -> list[P]:
    """The workers that count, the newest first: those that are there, and of a queue without any the last one.

    Args:
        publishers: All that are remembered.
        live: Identity and queue of those that are there.
    """
    known = sorted(publishers, key=lambda one: (one.started, one.seen, one.identity), reverse=True)
    by_queue: dict[str, list[P]] = {}
    for one in known:
        by_queue.setdefault(one.queue, []).append(one)
    counted: list[P] = []
    for queue, there in by_queue.items():
        counted += [one for one in there if (one.identity, queue) in live] or there[:1]
    return sorted(counted, key=lambda one: one.started, reverse=True)


def merge(
    publishers: Sequence[Publisher],
    documents: Mapping[str, Mapping[str, Any]],
    live: Collection[tuple[str, str]],
) -> Catalogue:
    """Put together what workers have published.

    Args:
        publishers: The workers that count, the newest first.
        documents: What they serve, by hash.
        live: Identity and queue of the workers that are there now.
    """
    counted = [one for one in publishers if one.hash in documents]
    names = _names(counted)
    differences: list[Difference] = []
    offers = {kind: _offers(kind, counted, documents, live, names, differences) for kind in KINDS}
    return Catalogue(
        workflows=offers["workflows"],
        steps=offers["steps"],
        executors=offers["executors"],
        builds=_builds(counted, documents, live, names),
        differences=sorted(differences, key=lambda one: (one.kind, one.name, one.queue)),
    )


_Key: TypeAlias = tuple[str | None, str | None, str]


def _key(one: Publisher) -> _Key:
    return (one.deployment, one.build_id, one.hash)


def _names(counted: Iterable[Publisher]) -> dict[_Key, str]:
    keys = list(dict.fromkeys(map(_key, counted)))
    short = {key: ":".join(part for part in key[:2] if part) or key[2][:12] for key in keys}
    often = Counter(short.values())
    return {key: name if often[name] == 1 else f"{name}/{key[2][:8]}" for key, name in short.items()}


def _builds(
    counted: Sequence[Publisher],
    documents: Mapping[str, Mapping[str, Any]],
    live: Collection[tuple[str, str]],
    names: Mapping[_Key, str],
) -> list[Build]:
    found: list[Build] = []
    for key, name in names.items():
        of_it = [one for one in counted if _key(one) == key]
        found.append(
            Build(
                name=name,
                deployment=key[0],
                build_id=key[1],
                hash=key[2],
                holdfast=of_it[0].holdfast,
                queues=sorted({one.queue for one in of_it}),
                workers=sorted({one.identity for one in of_it if (one.identity, one.queue) in live}),
                started=max(one.started for one in of_it),
                seen=max(one.seen for one in of_it),
                serves={
                    kind: [entry["name"] for entry in _entries(documents[key[2]], kind)] for kind in KINDS
                },
            )
        )
    return found


def _offers(
    kind: Kind,
    counted: Sequence[Publisher],
    documents: Mapping[str, Mapping[str, Any]],
    live: Collection[tuple[str, str]],
    names: Mapping[_Key, str],
    differences: list[Difference],
) -> list[Offer]:
    # By name and queue, what stands there, the newest first; equal entries are one.
    found: dict[tuple[str, str], dict[str, list[Publisher]]] = {}
    entries: dict[str, Mapping[str, Any]] = {}
    for one in counted:
        for entry in _entries(documents[one.hash], kind):
            text = json.dumps(entry, sort_keys=True)
            entries[text] = entry
            found.setdefault((entry["name"], one.queue), {}).setdefault(text, []).append(one)
    shown: dict[str, list[Publisher]] = {}
    for (name, queue), variants in found.items():
        shown.setdefault(next(iter(variants)), []).extend(next(iter(variants.values())))
        if len(variants) > 1:
            builds = [names[_key(ones[0])] for ones in variants.values()]
            differences.append(Difference(kind=kind, name=name, queue=queue, builds=builds))
    made = [_offer(entries[text], of_it, live, names) for text, of_it in shown.items()]
    return sorted(made, key=lambda offer: (offer.name, offer.queues))


def _entries(document: Mapping[str, Any], kind: Kind) -> list[Mapping[str, Any]]:
    """The entries of a document; a newer Holdfast may have written it, so what cannot be read is left out."""
    listed: object = document.get(kind)
    entries = cast("list[object]", listed) if isinstance(listed, list) else []
    objects = [cast("Mapping[str, Any]", one) for one in entries if isinstance(one, dict)]
    return [one for one in objects if isinstance(one.get("name"), str)]


def _offer(
    entry: Mapping[str, Any],
    of_it: Sequence[Publisher],
    live: Collection[tuple[str, str]],
    names: Mapping[_Key, str],
) -> Offer:
    return Offer(
        name=entry["name"],
        description=str(entry.get("description") or ""),
        queues=sorted({one.queue for one in of_it}),
        builds=list(dict.fromkeys(names[_key(one)] for one in of_it)),
        live=any((one.identity, one.queue) in live for one in of_it),
        input_schema=entry.get("input_schema"),
        output_schema=entry.get("output_schema"),
        options=entry.get("options") or {},
        aliases=entry.get("aliases") or [],
        triggers=entry.get("triggers") or [],
        package=entry.get("package"),
    )
