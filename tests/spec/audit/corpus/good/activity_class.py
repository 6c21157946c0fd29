"""Activities as methods that share a connection."""

import sqlite3
import threading
from datetime import timedelta

from temporalio import activity, workflow


class Accounts:
    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path)
        self.lock = threading.Lock()

    @activity.defn
    def balance(self, name: str) -> int:
        with self.lock:
            rows = self.connection.execute("select balance from accounts where name = ?", (name,))
            return int(rows.fetchone()[0])


@workflow.defn
class Balance:
    @workflow.run
    async def run(self, name: str) -> int:
        return await workflow.execute_activity_method(
            Accounts.balance, name, start_to_close_timeout=timedelta(seconds=5)
        )
