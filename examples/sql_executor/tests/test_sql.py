"""The contract of every executor, and what is special to this one. The database is SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from holdfast_sql import Sql, SqlOutput, query
from holdfast_sql.statement import idempotency_key_in

from holdfast import Client, Dag, InvalidConfiguration, InvalidInput, Permanent, RunFailed, Worker
from holdfast.testing import ContractCheck, executor_contract

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most) SELECT i FROM n"
IN_MEMORY = "sqlite://"

CHECKS = executor_contract(
    Sql,
    good=[
        {"statement": "SELECT :a AS a, 1.5 AS b, NULL AS c;", "parameters": {"a": "{{ secrets.WORD }}"}},
        {"statement": COUNT, "parameters": {"most": 100}, "max_rows": 10},
        {"statement": "CREATE TABLE new (id INTEGER)", "write": True},
    ],
    bad=[
        {},
        {"statement": " -- nothing\n"},
        {"statement": "SELECT 1; DELETE FROM orders"},
        {"statement": "DELETE FROM orders"},
        {"statement": "WITH x AS (SELECT 1) INSERT INTO sqlite_master SELECT * FROM x"},
        {"statement": "SELECT '{{ secrets.WORD }}'"},
        {"statement": "SELECT * FROM nobody"},
        {"statement": "SELECT :a"},
        {"statement": "SELECT :a", "parameters": {"a": [1]}},
        {"statement": "SELECT :idempotency_key", "parameters": {"idempotency_key": "mine"}},
        {"statement": "SELECT 1 AS a, 2 AS a"},
        {"statement": "SELECT 1", "max_rows": 1_000_000},
        {"statement": "SELECT 1", "database": "NOBODY"},
        {"statement": "SELECT 1", "database": "WORD"},
        {"statement": "SELECT 1", "database": "ELSEWHERE"},
    ],
    slow={"statement": ENDLESS},
    secrets={
        "DATABASE_URL": IN_MEMORY,
        "WORD": "s3cr3t-value",
        "ELSEWHERE": "nodb://user:hunter2hunter2@host/x",
    },
)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_it_keeps_the_contract(check: ContractCheck) -> None:
    check()


@pytest.fixture
def orders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with two orders, whose URL is a secret of this process."""
    path = tmp_path_factory.mktemp("db") / "shop.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(
            "CREATE TABLE orders (id TEXT PRIMARY KEY, cents INTEGER, raw BLOB);"
            "INSERT INTO orders VALUES ('A-1', 500, x'ff00'), ('A-2', 700, NULL);"
        )
    monkeypatch.setenv("HOLDFAST_SECRET_DATABASE_URL", f"sqlite:///{path}")
    return path


def stored(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as made:
        return made.execute("SELECT id, cents FROM orders ORDER BY id").fetchall()


@pytest.mark.usefixtures("orders")
async def test_rows_come_by_column_as_json() -> None:
    rows = await query("SELECT * FROM orders WHERE cents >= :least ORDER BY id", {"least": 500})
    assert rows == [{"id": "A-1", "cents": 500, "raw": "_wA="}, {"id": "A-2", "cents": 700, "raw": None}]


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("value", ["' OR 1=1 --", "A-1'; DROP TABLE orders; --", "%"])
async def test_a_value_is_never_code(value: str) -> None:
    assert await query("SELECT id FROM orders WHERE id = :id", {"id": value}) == []


async def test_rows_are_capped_and_the_output_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SECRET_DATABASE_URL", IN_MEMORY)
    found = await Sql.call({"statement": COUNT, "parameters": {"most": 11}, "max_rows": 10})
    assert (len(found.rows), found.row_count, found.truncated) == (10, 10, True)
    found = await Sql.call({"statement": COUNT, "parameters": {"most": 10}, "max_rows": 10})
    assert (found.row_count, found.truncated) == (10, False)


async def test_the_database_itself_refuses_to_write_for_a_reading_statement(orders: Path) -> None:
    with pytest.raises(Permanent, match="attempt to write a readonly database"):
        await Sql.call({"statement": "WITH x AS (SELECT 1) DELETE FROM orders"})
    with pytest.raises(InvalidInput, match="'delete' may change something: set write: true"):
        await Sql.call({"statement": "/* hi */ delete FROM orders"})
    assert len(stored(orders)) == 2


async def test_writing_counts_rows_and_is_whole_or_not_at_all(orders: Path) -> None:
    raised: SqlOutput = await Sql.call({"statement": "UPDATE orders SET cents = cents + 1", "write": True})
    assert raised == SqlOutput(rows=[], row_count=2, truncated=False)
    with pytest.raises(Permanent, match="UNIQUE constraint failed"):
        await Sql.call({"statement": "INSERT INTO orders (id) VALUES ('A-3'), ('A-1')", "write": True})
    assert stored(orders) == [("A-1", 501), ("A-2", 701)]


async def test_a_key_of_the_call_makes_an_insert_safe_to_repeat(
    orders: Path, holdfast_client: Client
) -> None:
    statement = "INSERT INTO orders (id, cents) VALUES (:idempotency_key, :cents) ON CONFLICT DO NOTHING"
    dag = Dag("adding")
    config = {"statement": statement, "parameters": {"cents": "{{ input }}"}, "write": True}
    dag.node("add", executor="sql", config=config)
    async with Worker(holdfast_client, []):
        run = await holdfast_client.start(dag, 9)
        await run.result()
    assert (f"{run.id}/add", 9) in stored(orders)


async def test_a_locked_database_is_tried_again(orders: Path, holdfast_client: Client) -> None:
    dag = Dag("waiting_for_the_lock")
    config = {"statement": "UPDATE orders SET cents = 1", "write": True, "database": "IMPATIENT"}
    dag.node("update", executor="sql", config=config)
    lock = sqlite3.connect(orders, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    url = f"sqlite:///{orders}?timeout=0.01"
    async with Worker(holdfast_client, [], secrets={"IMPATIENT": url}):
        run = await holdfast_client.start(dag, None)
        async with asyncio.timeout(30):
            while not any(one.attempt > 1 for one in (await run.describe()).steps):  # noqa: ASYNC110 - nothing announces attempts
                await asyncio.sleep(0.02)
        lock.execute("COMMIT")
        lock.close()
        await run.result()
    assert stored(orders) == [("A-1", 1), ("A-2", 1)]


async def test_a_url_that_is_none_does_not_show_itself(holdfast_client: Client) -> None:
    dag = Dag("nowhere")
    dag.node("ask", executor="sql", config={"statement": "SELECT 1"})
    async with Worker(holdfast_client, [], secrets={"DATABASE_URL": "nodb://user:hunter2hunter2@host/x"}):
        with pytest.raises(RunFailed, match="no URL of a database that can be used") as failed:
            await holdfast_client.run(dag, None)
    assert "hunter2" not in str(failed.value)


async def test_without_a_secret_it_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SECRET_DATABASE_URL", "oracle://host/name")
    with pytest.raises(InvalidConfiguration, match="no URL of a database"):
        await query("SELECT 1")


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("VALUES (:idempotency_key)", True),
        ("VALUES (x::idempotency_key)", False),
        ("VALUES (:idempotency_keys)", False),
    ],
)
def test_the_key_is_a_parameter_like_any_other(statement: str, found: bool) -> None:
    assert idempotency_key_in(statement) is found
