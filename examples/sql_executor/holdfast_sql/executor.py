"""The executor `sql`: one statement, its values as parameters, its rows as the output."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import BaseModel, Field, JsonValue

from holdfast import Executor, ExecutorContext, ExecutorOptions
from holdfast_sql.statement import idempotency_key_in, refusal

Value = str | int | float | bool | None


class SqlConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    statement: str = Field(min_length=1, max_length=100_000)
    """One SQL statement with `:name` for each value. `:idempotency_key` is that of the call."""

    parameters: dict[str, Value] = Field(default_factory=dict[str, Value])
    """The values by name. Values never go into the statement itself."""

    database: str = "DATABASE_URL"
    """The name of the secret that holds the URL, such as `postgresql+psycopg://user:password@host/name`."""

    max_rows: int = Field(default=1_000, ge=1, le=10_000)
    """How many rows are read; `truncated` says whether there are more."""

    write: bool = False
    """Whether the statement may change anything. If not, the database is told to refuse that."""


class SqlOutput(BaseModel, use_attribute_docstrings=True):
    rows: list[dict[str, JsonValue]]
    """The rows by column. Times are ISO 8601, decimals text, bytes Base64."""

    row_count: int
    """How many rows were changed; of a query, how many `rows` holds."""

    truncated: bool
    """Whether there are more rows than `max_rows`."""


class Sql(Executor[SqlConfig, SqlOutput]):
    """Carries out one SQL statement in a transaction of its own."""

    type = "sql"
    options = ExecutorOptions(timeout=timedelta(minutes=1), code_fields=("statement",))

    async def execute(self, ctx: ExecutorContext, config: SqlConfig, input: JsonValue) -> SqlOutput:
        """See base class."""
        from holdfast_sql.database import Database  # imports SQLAlchemy, which takes a while

        del input
        database = Database(await ctx.secrets.get(config.database))
        if database.password:
            ctx.hide(database.password)  # errors may quote it without the rest of the URL
        values: dict[str, Value] = dict(config.parameters)
        if idempotency_key_in(config.statement):
            values["idempotency_key"] = ctx.idempotency_key
        found = await database.run(config.statement, values, max_rows=config.max_rows, write=config.write)
        return SqlOutput(rows=found.rows, row_count=found.row_count, truncated=found.truncated)

    def validate(self, config: SqlConfig) -> list[str]:
        """See base class."""
        problems = [problem] if (problem := refusal(config.statement, write=config.write)) else []
        if "idempotency_key" in config.parameters:
            problems.append("parameters: 'idempotency_key' is given by the call")
        return problems


async def query(statement: str, parameters: Mapping[str, Value] | None = None) -> list[dict[str, JsonValue]]:
    """The rows of a query: a step in a workflow, at once elsewhere.

    Args:
        statement: With `:name` for each value.
        parameters: The values by name.
    """
    found = await Sql.call(SqlConfig(statement=statement, parameters=dict(parameters or {})))
    return found.rows
