"""One statement on one connection, which is closed after it: what is kept open would keep the password."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_jsonable_python
from sqlalchemy import Connection, CursorResult, create_engine, exc, make_url, pool, text

from holdfast import InvalidConfiguration, InvalidInput, Permanent

_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET TRANSACTION READ ONLY",
    "mariadb": "SET TRANSACTION READ ONLY",
}
"""How each database is told that nothing may change."""

_SQLITE_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a statement gave."""

    rows: list[dict[str, JsonValue]]
    row_count: int
    truncated: bool


class Database:
    """A database by its URL.

    Raises:
        InvalidConfiguration: The URL is none, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            self._engine = create_engine(parsed, poolclass=pool.NullPool, hide_parameters=True)
        except (exc.ArgumentError, exc.NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            raise InvalidConfiguration(
                f"the secret is no URL of a database that can be used: {error}"
            ) from None
        self.password = parsed.password
        self._connection: Connection | None = None

    async def run(
        self, statement: str, parameters: Mapping[str, Any], *, max_rows: int, write: bool
    ) -> Found:
        """Carry out one statement.

        Raises:
            Permanent: The database refuses it.
            InvalidInput: Two columns have one name, or a value cannot be written as JSON.
        """
        try:
            return await asyncio.to_thread(self._run, statement, parameters, max_rows, write)
        except asyncio.CancelledError:
            self._interrupt()
            raise
        except exc.DBAPIError as error:
            if _passes(error):
                raise
            raise Permanent(f"the database refused the statement: {error.orig}") from None
        except exc.StatementError as error:
            raise InvalidInput(f"the statement and its parameters do not fit: {error.orig}") from None

    def _run(self, statement: str, parameters: Mapping[str, Any], max_rows: int, write: bool) -> Found:
        dialect = self._engine.dialect.name
        if not write and dialect not in _READ_ONLY:
            raise InvalidConfiguration(f"nothing is known of how {dialect} keeps statements from writing")
        with self._engine.connect() as connection:
            self._connection = connection
            if not write:
                connection.exec_driver_sql(_READ_ONLY[dialect])
            result = connection.execute(text(statement), parameters)
            found = _found(result, max_rows)
            if write:
                connection.commit()
            return found

    def _interrupt(self) -> None:
        """Stop a statement that nobody waits for."""
        connection = self._connection
        if connection is None or connection.closed:
            return
        driver: Any = connection.connection.driver_connection
        stop = getattr(driver, "interrupt", None) or getattr(driver, "cancel", None)
        if stop is not None:
            stop()


def _found(result: CursorResult[Any], max_rows: int) -> Found:
    if not result.returns_rows:
        return Found(rows=[], row_count=max(result.rowcount, 0), truncated=False)
    names = list(result.keys())
    if len(set(names)) < len(names):
        raise InvalidInput(f"two columns have one name: {', '.join(names)}; name them with AS")
    read = result.fetchmany(max_rows + 1)
    try:
        rows = [
            {
                name: to_jsonable_python(value, bytes_mode="base64")
                for name, value in zip(names, row, strict=True)
            }
            for row in read[:max_rows]
        ]
    except PydanticSerializationError as error:
        raise InvalidInput(f"a value cannot be written as JSON: {error}; cast it") from None
    return Found(rows=rows, row_count=len(rows), truncated=len(read) > max_rows)


def _passes(error: exc.DBAPIError) -> bool:
    """Whether another attempt may succeed."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _SQLITE_PASSING
    return isinstance(error, exc.OperationalError | exc.InternalError) or error.connection_invalidated
