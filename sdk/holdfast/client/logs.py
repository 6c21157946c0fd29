"""What the steps of a run have logged, read from where workers keep it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.client.client import Client


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One message of a step."""

    at: datetime
    level: str
    logger: str
    message: str
    step: str
    attempt: int
    worker: str
    """The process that logged it, `pid@host`."""
    cut_count: int
    """How many messages of this attempt before this one were not kept."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "at": self.at.isoformat()}


async def logs_of(
    client: Client, run_id: str, *, step: str | None = None, after: int = 0
) -> tuple[list[LogLine], int]:
    """Messages of a run's steps, oldest first, and where to go on.

    Args:
        client: A connected client.
        run_id: The run.
        step: Only of this step.
        after: What an earlier call returned as where to go on.

    Raises:
        Unavailable, InvalidConfiguration: The database does not answer, or is not installed.
    """
    from holdfast.store.step_logs import read_step_logs  # slow to import

    rows = await client.store.call(read_step_logs, run_id, step=step, after=after)
    found: list[LogLine] = []
    ends: dict[tuple[str, str, int], int] = {}
    for row in rows:
        attempt = (row.execution_id, row.activity_id, row.attempt)
        cut = row.first_line - ends.get(attempt, row.first_line if after else 0)
        ends[attempt] = row.first_line + len(row.lines)
        for at, level, logger, message in row.lines:
            found.append(
                LogLine(
                    at=at,
                    level=level,
                    logger=logger,
                    message=message,
                    step=row.step,
                    attempt=row.attempt,
                    worker=row.worker,
                    cut_count=cut,
                )
            )
            cut = 0
    found.sort(key=lambda line: line.at)
    return found, rows[-1].id if rows else after
