"""The tables of the read model. All of it but definitions, decisions and the audit log is made from Temporal's
histories, and can be made anew of those that Temporal still has.

A run's `key` is the time of its start and a few bits of a hash of its id. So the newest runs are those with the
highest keys, a page goes on where the last one ended by one number, a time range is a range of keys, and the low bits
are a fair sample.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table

from holdfast.store.columns import Instant, Json, String

KEY_BITS: Final = 11
"""How many bits of a key come from the id."""

metadata = MetaData()


def key_of(identity: str, started: int) -> int:
    """The key of a run or an execution.

    Args:
        identity: The run id or the execution id.
        started: Microseconds since 1970.
    """
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=2).digest()
    return (started << KEY_BITS) | (int.from_bytes(digest, "big") & ((1 << KEY_BITS) - 1))


def _text(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, String, nullable=null, server_default=None if null else "")


def _number(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _time(name: str, *, null: bool = True) -> Column[Any]:
    return Column(name, Instant, nullable=null)


def _key(name: str, kind: Any = BigInteger) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


runs = Table(
    "runs",
    metadata,
    _key("key"),
    Column("id", String, nullable=False, unique=True),
    _text("execution_id"),
    _text("first_execution_id"),
    _text("workflow"),
    _text("version"),
    Column("dag", Boolean, nullable=False),
    _text("state"),
    _text("queue"),
    _text("parent", null=True),
    _time("started", null=False),
    _time("first_task"),
    _time("closed"),
    Column("duration_us", BigInteger),
    Column("queue_wait_us", BigInteger),
    Column("attempt", Integer, nullable=False, server_default="1"),
    _number("step_count"),
    _number("retry_count"),
    _number("failed_step_count"),
    _number("tokens"),
    _number("cost_micros"),
    _text("error_type", null=True),
    _text("error_step", null=True),
    _text("fingerprint", null=True),
    _number("history_event_count"),
    _number("history_size_bytes"),
    _number("last_event_id"),
    _time("observed", null=False),
    _text("gap", null=True),
)
"""One row per run, narrow: lists and figures read it from end to end. `error_type` is that of the run's error,
of a `StepFailed` what its step raised; `error_step` the first step that failed for good."""

for _columns in (("workflow", "state"), ("workflow",), ("state",), ("version",), ("queue",)):
    Index(f"runs_{'_'.join(_columns)}", *(runs.c[name] for name in _columns), runs.c.key)
for _name in ("fingerprint", "parent", "closed", "error_type"):
    Index(
        f"runs_{_name}",
        runs.c[_name],
        runs.c.key,
        sqlite_where=runs.c[_name].is_not(None),
        postgresql_where=runs.c[_name].is_not(None),
    )

run_details = Table(
    "run_details",
    metadata,
    _key("run_key"),
    _text("error_message", null=True),
    _text("waiting_for", null=True),
    _text("stuck", null=True),
    Column("input", Json),
    Column("result", Json),
    Column("search_attributes", Json),
    Column("memo", Json),
    _text("search"),
)
"""What is shown of one run, and the text in which a substring is searched."""

executions = Table(
    "executions",
    metadata,
    _key("key"),
    Column("execution_id", String, nullable=False, unique=True),
    Column("run_key", BigInteger, nullable=False, index=True),
    _text("first_execution_id"),
    _text("workflow"),
    _text("version"),
    _text("state"),
    _time("started", null=False),
    _time("first_task"),
    _time("closed"),
    _number("step_count"),
    _number("retry_count"),
    _number("failed_step_count"),
    _number("tokens"),
    _number("cost_micros"),
    _number("history_event_count"),
    _number("history_size_bytes"),
    _number("last_event_id"),
    _time("observed", null=False),
    _text("gap", null=True),
)
"""One row per execution of a run: those that continue each other share `first_execution_id`."""

Index(
    "executions_open",
    executions.c.observed,
    sqlite_where=executions.c.closed.is_(None),
    postgresql_where=executions.c.closed.is_(None),
)

steps = Table(
    "steps",
    metadata,
    _key("run_key"),
    _key("execution_key"),
    _key("position", Integer),
    _text("activity_id"),
    _text("name"),
    Column("ordinal", Integer, nullable=False),
    _text("state"),
    Column("local", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False),
    _time("scheduled"),
    _time("started"),
    _time("closed"),
    Column("duration_us", BigInteger),
    Column("queue_wait_us", BigInteger),
    _text("queue", null=True),
    _text("worker", null=True),
    _text("error_type", null=True),
    _text("error_message", null=True),
    _text("fingerprint", null=True),
    _text("compensates", null=True),
    _text("summary", null=True),
    Column("input", Json),
    Column("result", Json),
    _number("tokens"),
    _number("cost_micros"),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    _key("run_key"),
    _key("execution_key"),
    _key("position", Integer),
    _key("attempt", Integer),
    _text("error_type"),
    _text("error_message"),
    _text("fingerprint"),
    _time("started"),
    _time("closed"),
    _text("worker", null=True),
    sqlite_with_rowid=False,
)
"""The failed attempts of steps, as far as the history has them: the last one, and the one before."""

approvals = Table(
    "approvals",
    metadata,
    _key("run_key"),
    _key("name", String),
    _text("prompt", null=True),
    Column("form", Json),
    _time("since"),
    _time("deadline"),
    sqlite_with_rowid=False,
)
"""The approvals that are open."""

rollups = Table(
    "rollups",
    metadata,
    _key("span", String),
    _key("step", String),
    _key("start"),
    _key("workflow", String),
    _key("version", String),
    _key("state", String),
    _key("error_type", String),
    _number("count"),
    _number("retried"),
    _number("retries"),
    _number("failed_steps"),
    _number("closed"),
    _number("duration_us"),
    _number("queue_wait_us"),
    _number("tokens"),
    _number("cost_micros"),
    sqlite_with_rowid=False,
)
"""Sums by hour and by day (`span`) of the start, in microseconds. `step` is empty in those of runs; those of steps are
by day only."""

histograms = Table(
    "histograms",
    metadata,
    _key("measure", String),
    _key("start"),
    _key("workflow", String),
    _key("version", String),
    _key("bucket", Integer),
    _number("count"),
    sqlite_with_rowid=False,
)
"""By eight days of the start: how many durations and queue waits of runs fell into each bucket; see `quantiles.py`."""

events = Table(
    "events",
    metadata,
    Column("cursor", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _text("channel"),
    _text("kind"),
    _text("run_id", null=True),
    _time("at", null=False),
    Column("payload", Json),
    Column("identity", String, unique=True),
    _text("workflow", null=True),
    sqlite_autoincrement=True,
)
"""`identity` makes a second telling of an event nothing. Cursors become visible in order: see `Database.write`."""

Index("events_run", events.c.run_id, events.c.cursor)
Index("events_workflow", events.c.workflow, events.c.cursor)
Index("events_at", events.c.at)

definitions = Table(
    "definitions",
    metadata,
    _key("name", String),
    Column("version", Integer, nullable=False),
    _time("created", null=False),
    _time("updated", null=False),
    _time("deleted"),
)
"""Stored workflows: the number of the latest version."""

definition_versions = Table(
    "definition_versions",
    metadata,
    _key("name", String),
    _key("version", Integer),
    _text("spec_hash"),
    Column("document", Json, nullable=False),
    _time("created", null=False),
    _text("created_by", null=True),
    _text("note", null=True),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _text("kind"),
    _text("status"),
    _text("run_id", null=True),
    _text("workflow"),
    Column("identity", String, nullable=False, unique=True),
    _text("fingerprint", null=True),
    _text("error_type", null=True),
    _text("error_message", null=True),
    Column("payload", Json),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _text("redriven_as", null=True),
    _time("failed", null=False),
    _time("created", null=False),
    _time("updated", null=False),
    _text("reason", null=True),
)
"""`kind`: `run`, `compensation` or `trigger`. `status`: `pending`, `retrying`, `resolved` or `abandoned`, with a
reason. `failed`: when it did so last; what is told of earlier times changes nothing. `redriven_as`: the run that does
it anew, if that is another one."""

Index("dead_letters_status", dead_letters.c.status, dead_letters.c.id)
Index("dead_letters_run", dead_letters.c.run_id)
Index("dead_letters_redriven", dead_letters.c.redriven_as)

step_logs = Table(
    "step_logs",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    *(_text(name) for name in ("run_id", "execution_id", "activity_id", "step", "worker")),
    *(Column(name, Integer, nullable=False) for name in ("attempt", "first_line", "line_count")),
    _time("at", null=False),
    Column("lines", Json, nullable=False),
)
"""What attempts of steps have logged: a row for what a worker has written at once."""

Index("step_logs_run", step_logs.c.run_id, step_logs.c.id)
Index("step_logs_at", step_logs.c.at)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _key("scope", String),
    _key("key", String),
    _text("request_hash"),
    Column("response", Json),
    _time("created", null=False),
    _time("expires", null=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _time("at", null=False),
    _text("who"),
    _text("what"),
    _text("why"),
    _text("run_id", null=True),
    Column("filter", Json),
    _number("count"),
    _text("result"),
    Column("details", Json),
    _text("subject", null=True),
)
"""Every action of an operator: who did what to which runs (`run_id`, or `filter` and `count`) or to what else
(`subject`), why, and what came of it."""

Index("audit_log_run", audit_log.c.run_id, audit_log.c.id)
Index("audit_log_subject", audit_log.c.subject, audit_log.c.id)

unreadable = Table(
    "unreadable",
    metadata,
    _key("execution_id", String),
    _text("run_id"),
    _text("reason"),
    Column("attempts", Integer, nullable=False, server_default="1"),
    _time("first_seen", null=False),
    _time("last_seen", null=False),
)
"""Executions whose history could not be read."""

cursors = Table(
    "cursors", metadata, _key("name", String), Column("value", Json), _time("updated", null=False)
)
"""How far somebody has come, by name."""

leases = Table(
    "leases", metadata, _key("name", String), _text("holder"), _time("expires", null=False), _number("term")
)
"""Who does what only one may do. `term` grows with each holder."""

triggers = Table(
    "triggers",
    metadata,
    _key("name", String),
    _text("kind"),
    Column("condition", Json, nullable=False),
    Column("target", Json, nullable=False),
    _text("content_hash"),
    _text("owner", null=True),
    Column("paused", Boolean, nullable=False),
    _text("note", null=True),
    _number("after"),
    _time("since", null=False),
    _time("created", null=False),
    _time("updated", null=False),
)
"""Triggers that Temporal does not carry out: `kind` is `event` or `webhook`. Only events count that have a cursor above
`after` and happened after `since`."""
