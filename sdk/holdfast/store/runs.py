"""Reading stored runs: pages, counts, facets, one run with its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final, get_args

from sqlalchemy import Select, func, select, union_all

from holdfast.errors import InvalidInput, NotFound
from holdfast.run_filter import FacetName
from holdfast.states import RunState, StepState
from holdfast.store.columns import ID_BYTES, bounded
from holdfast.store.database import Database
from holdfast.store.filters import RunFilter, filtered, order_key, split
from holdfast.store.schema import attempts, executions, run_details, runs, steps
from holdfast.store.stored import Facet as Facet
from holdfast.store.stored import Page as Page
from holdfast.store.stored import StoredFailure as StoredFailure
from holdfast.store.stored import StoredRun as StoredRun
from holdfast.store.stored import StoredStep as StoredStep

MAX_PAGE: Final = 1000

_COLUMNS: Final = [
    (run_details if entry.name in run_details.c else runs).c[entry.name] for entry in fields(StoredRun)
]
_STEP_COLUMNS: Final = [
    executions.c.execution_id if entry.name == "execution_id" else steps.c[entry.name]
    for entry in fields(StoredStep)
    if entry.name != "failures"
]


def list_runs(database: Database, chosen: RunFilter, *, limit: int = 100, after: str | None = None) -> Page:
    """A page of runs, newest first. Runs that start meanwhile move nothing: a page goes on where the last one ended.

    Args:
        database: Where from.
        chosen: Which runs.
        limit: How many at most, 1 to 1000.
        after: `next` of the page before.

    Raises:
        InvalidInput: `limit` or `after` cannot be.
        Unavailable: The database does not answer.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit={limit}: use 1 to {MAX_PAGE}.")
    parts = split(chosen)
    if not parts:
        return Page(runs=[], next=None)
    before = None if after is None else _position(after)
    with database.read() as connection:
        queries = [_keys(database, part, before, limit + 1) for part in parts]
        if len(queries) == 1:
            keys = list(connection.execute(queries[0]).scalars())
        else:
            merged = union_all(*(select(query.subquery().c.key) for query in queries)).subquery()
            query = select(merged.c.key).order_by(merged.c.key.desc()).limit(limit + 1)
            keys = list(connection.execute(query).scalars())
        found = _by_keys(connection, keys[:limit])
    return Page(runs=found, next=str(keys[limit - 1]) if len(keys) > limit else None)


def count_runs(database: Database, chosen: RunFilter) -> int:
    """How many runs fit a filter.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        query = filtered(database, select(func.count()).select_from(runs), chosen)
        return int(connection.execute(query).scalar_one())


def facet_runs(database: Database, chosen: RunFilter, by: FacetName, *, limit: int = 100) -> list[Facet]:
    """The values that runs have, the most frequent first.

    Args:
        database: Where from.
        chosen: Which runs.
        by: What to count by.
        limit: How many values at most.

    Raises:
        InvalidInput: Nothing is counted by that.
        Unavailable: The database does not answer.
    """
    if by not in get_args(FacetName):
        raise InvalidInput(f"by={by!r}: use one of {', '.join(get_args(FacetName))}")
    count, latest = func.count().label("n"), func.max(runs.c.key).label("latest")
    every: Select[*tuple[Any, ...]] = select(*[runs.c[by], count, latest])
    query = filtered(database, every.select_from(runs), chosen)
    if by in ("error_type", "fingerprint"):
        query = query.where(runs.c[by].is_not(None))
    with database.read() as connection:
        rows = connection.execute(
            query.group_by(runs.c[by]).order_by(count.desc(), latest.desc()).limit(limit)
        ).all()
        examples = {run.key: run for run in _by_keys(connection, [row.latest for row in rows])}
    return [Facet(value=row[0], count=row.n, latest=examples[row.latest]) for row in rows]


def get_run(database: Database, run_id: str) -> StoredRun:
    """One run.

    Raises:
        NotFound: It is not stored.
        Unavailable: The database does not answer.
    """
    query = _joined().where(runs.c.id == bounded(run_id, ID_BYTES))
    with database.read() as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(
            f"No run {run_id!r} in the history; it may be too new, or past the time it is kept for."
        )
    return _run(row)


def get_previews(database: Database, run_id: str) -> dict[str, Any]:
    """What is kept of a run's `input` (a list) and `result`: each `text`, `size` in bytes, whether it is `complete`.

    Raises:
        NotFound: It is not stored.
        Unavailable: The database does not answer.
    """
    run = get_run(database, run_id)
    query = select(run_details.c.input, run_details.c.result).where(run_details.c.run_key == run.key)
    with database.read() as connection:
        row = connection.execute(query).mappings().first()
    return dict(row) if row else {"input": [], "result": None}


def get_steps(database: Database, run_id: str) -> list[StoredStep]:
    """The steps of a run in the order in which they were scheduled, those of executions that it continues included.

    Raises:
        Unavailable: The database does not answer.
    """
    chain = (
        select(executions.c.key)
        .join(runs, runs.c.key == executions.c.run_key)
        .where(
            runs.c.id == bounded(run_id, ID_BYTES),
            runs.c.first_execution_id == executions.c.first_execution_id,
        )
    )
    with database.read() as connection:
        run_key = connection.execute(
            select(runs.c.key).where(runs.c.id == bounded(run_id, ID_BYTES))
        ).scalar()
        keys = list(connection.execute(chain).scalars())
        if run_key is None:
            return []
        place = [steps.c.run_key == run_key, steps.c.execution_key.in_(keys)]
        query = select(*_STEP_COLUMNS, steps.c.execution_key).where(*place)
        query = query.join(executions, executions.c.key == steps.c.execution_key)
        rows = connection.execute(query.order_by(steps.c.execution_key, steps.c.position)).mappings().all()
        tried = select(attempts).where(attempts.c.run_key == run_key, attempts.c.execution_key.in_(keys))
        failures: dict[tuple[int, int], list[StoredFailure]] = {}
        for row in connection.execute(tried.order_by(attempts.c.attempt)).mappings():
            facts = {entry.name: row[entry.name] for entry in fields(StoredFailure)}
            failures.setdefault((row["execution_key"], row["position"]), []).append(StoredFailure(**facts))
    return [_step(row, failures.get((row["execution_key"], row["position"]), [])) for row in rows]


def _keys(database: Database, chosen: RunFilter, before: int | None, limit: int) -> Select[*tuple[Any, ...]]:
    key = order_key(database, chosen)
    query = filtered(database, select(key.label("key")).select_from(runs), chosen)
    if before is not None:
        query = query.where(key < before)
    return query.order_by(key.desc()).limit(limit)


def _joined() -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS).join_from(runs, run_details, run_details.c.run_key == runs.c.key)


def _by_keys(connection: Any, keys: Sequence[int]) -> list[StoredRun]:
    """The runs with these keys, newest first."""
    query = _joined().where(runs.c.key.in_(keys)).order_by(runs.c.key.desc())
    return [_run(row) for row in connection.execute(query).mappings()]


def _run(row: Any) -> StoredRun:
    facts: dict[str, Any] = {**row, "state": RunState(row["state"])}
    return StoredRun(**facts)


def _step(row: Any, failures: Sequence[StoredFailure]) -> StoredStep:
    facts: dict[str, Any] = {name: value for name, value in row.items() if name != "execution_key"}
    facts |= {"state": StepState(row["state"]), "failures": failures}
    return StoredStep(**facts)


def _position(after: str) -> int:
    if not after.isascii() or not after.isdecimal() or len(after) > 19:
        raise InvalidInput(
            f"after={after[:50]!r} is no place in a list of runs; pass `next` of the page before."
        )
    return min(int(after), 2**63 - 1)
