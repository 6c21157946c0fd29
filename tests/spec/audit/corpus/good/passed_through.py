"""Imports that are passed through the sandbox, for types and activities alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    import requests
    from shop.activities import charge, ship

if TYPE_CHECKING:
    from pathlib import Path


@workflow.defn
class Order:
    @workflow.run
    async def run(self, number: int, folder: Path | None = None) -> bool:
        try:
            await workflow.execute_activity(charge, number, start_to_close_timeout=timedelta(seconds=5))
        except requests.RequestException as error:
            raise ValueError(f"{folder}") from error
        return bool(
            await workflow.execute_activity(ship, number, start_to_close_timeout=timedelta(seconds=5))
        )
