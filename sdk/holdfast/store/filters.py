"""The conditions that a filter of runs stands for. Values only ever travel as parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, column, false, or_, table, text

from holdfast.run_filter import RunFilter as RunFilter
from holdfast.states import RunState
from holdfast.store.columns import ID_BYTES, bounded, escaped, microseconds
from holdfast.store.database import Database
from holdfast.store.schema import KEY_BITS, run_details, runs

ALL: Final = 1 << KEY_BITS
"""Above the low bits of all keys: a sample of so many is all runs."""

_PARTS: Final = 30
_TRIGRAM: Final = 3
"""The shortest text that the index of substrings finds."""

run_search = table("run_search", column("rowid"), column("search"))
"""SQLite's index of substrings. Its rows are the runs' keys."""


def conditions(chosen: RunFilter) -> list[ColumnElement[bool]]:
    """What a row of `runs` must fulfil, all but the text.

    Args:
        chosen: The filter.
    """
    found: list[ColumnElement[bool]] = []
    states = wanted_states(chosen)
    if states is not None:
        found.append(runs.c.state.in_(states))
    for name, values in (
        ("workflow", chosen.workflows),
        ("version", chosen.versions),
        ("queue", chosen.queues),
    ):
        if values:
            found.append(runs.c[name].in_(sorted(map(bounded, values))))
    if chosen.dag is not None:
        found.append(runs.c.dag == chosen.dag)
    if chosen.started_from is not None:
        found.append(runs.c.key >= first_key(chosen.started_from))
    if chosen.started_to is not None:
        found.append(runs.c.key < first_key(chosen.started_to))
    if chosen.closed_from is not None:
        found.append(runs.c.closed >= chosen.closed_from)
    if chosen.closed_to is not None:
        found.append(runs.c.closed < chosen.closed_to)
    if chosen.fingerprint is not None:
        found.append(runs.c.fingerprint == chosen.fingerprint)
    if chosen.error_type is not None:
        found.append(runs.c.error_type == bounded(chosen.error_type))
    if chosen.parent is not None:
        found.append(runs.c.parent == bounded(chosen.parent, ID_BYTES))
    return found


def wanted_states(chosen: RunFilter) -> list[str] | None:
    """The states that a filter lets through, sorted; `None` for all."""
    if chosen.open is None:
        return sorted({state.value for state in chosen.states}) or None
    return sorted(s.value for s in (chosen.states or RunState) if RunState(s).closed is not chosen.open)


def first_key(moment: datetime) -> int:
    """The lowest key of what starts at a moment."""
    return microseconds(moment) << KEY_BITS


def filtered(
    database: Database, query: Select[*tuple[Any, ...]], chosen: RunFilter, *, sample: int | None = None
) -> Select[*tuple[Any, ...]]:
    """The query over `runs`, with the conditions of a filter.

    Args:
        database: Tells how texts are searched.
        query: Its first table must be `runs`.
        chosen: The filter.
        sample: Only runs whose key has low bits below this: a fair sample. Default: all.
    """
    if sample is not None:
        query = query.where(low_bits(runs.c.key) < sample)
    query = query.where(*conditions(chosen))
    if not chosen.text:
        return query
    if database.is_sqlite and len(chosen.text) >= _TRIGRAM:
        return query.join_from(runs, run_search, run_search.c.rowid == runs.c.key).where(
            _matches(chosen.text)
        )
    query = query.join_from(runs, run_details, run_details.c.run_key == runs.c.key)
    contains = _contains(chosen.text)
    if sample is not None:
        # PostgreSQL would look at all texts first, as it takes that for the cheaper condition.
        contains = case((low_bits(run_details.c.run_key) < sample, contains), else_=false())
    return query.where(contains)


def low_bits(key: ColumnElement[int]) -> ColumnElement[int]:
    """The part of a key that is of a hash."""
    return key % ALL


def smaller(sample: int | None, wanted: int, count: int) -> int:
    """The sample that has `wanted` of the `count` runs of this one."""
    return max(wanted * (ALL if sample is None else sample) // count, 1)


def looks_at_all(database: Database, chosen: RunFilter) -> bool:
    """Whether a text is searched without an index, so that all texts are looked at."""
    found = chosen.text or ""
    return found != "" and not (database.has_search_index and len(found) >= _TRIGRAM)


def order_key(database: Database, chosen: RunFilter) -> ColumnElement[int]:
    """What `filtered` rows are sorted by: the column whose order costs nothing."""
    if chosen.text and database.is_sqlite and len(chosen.text) >= _TRIGRAM:
        return run_search.c.rowid
    return runs.c.key


def split(chosen: RunFilter) -> Sequence[RunFilter]:
    """Filters that together let through the same runs, each served by one index in the order of keys.

    A list of several states or workflows would have to be sorted as a whole before its first page is known.
    """
    states = wanted_states(chosen)
    if states == []:
        return []
    if chosen.text or chosen.fingerprint or chosen.parent:
        return [chosen]
    by_state: list[Sequence[RunState]] = [[RunState(state)] for state in states] if states else [[]]
    by_workflow: list[Sequence[str]] = [[name] for name in sorted(set(chosen.workflows))] or [[]]
    if len(by_state) * len(by_workflow) > _PARTS:
        return [chosen]
    return [replace(chosen, open=None, states=s, workflows=w) for s in by_state for w in by_workflow]


def _matches(part: str) -> ColumnElement[bool]:
    phrase = " OR ".join('"' + escaped(form).replace('"', '""') + '"' for form in _forms(part))
    return text("run_search MATCH :phrase").bindparams(phrase=phrase)  # type: ignore[return-value]


def _contains(part: str) -> ColumnElement[bool]:
    patterns = [form.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for form in _forms(part)]
    return or_(*(run_details.c.search.ilike(f"%{pattern}%", escape="\\") for pattern in patterns))


def _forms(part: str) -> list[str]:
    """A text as it is, and as it is within the JSON of an input or a result, if quotes, line breaks or the like make
    that another."""
    return list(dict.fromkeys([part, json.dumps(part, ensure_ascii=False)[1:-1]]))
