"""Rows read in a signal handler."""

import sqlite3
from datetime import timedelta

from temporalio import workflow


class Store:
    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path)  # expect: HF-A022

    def rows(self) -> list[str]:
        return self.connection.execute("select name from rows").fetchall()  # expect: HF-A022


@workflow.defn(name="database")
class Database:
    def __init__(self) -> None:
        self.names: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: bool(self.names), timeout=timedelta(hours=1))
        return self.names

    @workflow.signal
    async def refresh(self, path: str) -> None:
        self.names = Store(path).rows()
