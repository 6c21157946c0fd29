"""Keeps what steps log, in the background: a step never waits for it and never fails by it."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from temporalio import activity

from holdfast.engine.telemetry.context import WORKER, step_name
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.store.database import Database
    from holdfast.store.step_logs import Attempt, Chunk

logger = logging.getLogger("holdfast.telemetry")

MAX_LINES: Final = 1000
MAX_BYTES: Final = 64 * 1024
"""Of one attempt, at least so much of the end is kept, and at most as much again."""

_LINE_CHARS: Final = 8 * 1024
_FLUSH_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 5.0
_ATTEMPTS: Final = 2000
"""Of how many attempts it is remembered what is stored. The oldest are forgotten: they may keep more than the rest."""

_WAITING_CHARS: Final = 16 * 1024 * 1024
"""Of all attempts that wait to be written: beyond that the oldest are left out."""

_Key = tuple[str, str, str, int]
_Line = tuple[int, str, str, str]


class _Lines:
    """The lines of one attempt: those that wait to be written, and the sizes of those that are."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.count = 0
        self.waiting: deque[_Line] = deque(maxlen=MAX_LINES)
        self.stored: deque[tuple[int, int]] = deque()
        """Of each row: the number of the line after its last, and its size in bytes."""


class StepLogs(logging.Handler):
    """Keeps what steps of this process log from INFO on.

    Args:
        open: Opens the database; called with the first line, in the background.
    """

    def __init__(self, open: Callable[[], Database]) -> None:
        super().__init__(logging.INFO)
        self._open = open
        self._database: Database | None = None
        self._attempts: OrderedDict[_Key, _Lines] = OrderedDict()
        self._waiting: set[_Key] = set()
        self._guard = threading.Lock()
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._told = False
        self._chars = 0
        self._format = logging.Formatter("%(message)s").format

    def start(self) -> None:
        """Listen to all loggers."""
        logging.getLogger().addHandler(self)

    def stop(self) -> None:
        """Stop listening, and write what is left, for five seconds at most."""
        logging.getLogger().removeHandler(self)
        self._closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def emit(self, record: logging.LogRecord) -> None:
        """See base class."""
        if not activity.in_activity():
            return
        info = activity.info()
        step = step_name(info.activity_type)
        if step is None:
            return
        try:
            message = self._format(record)
        except Exception:  # noqa: BLE001 - the arguments are anybody's; other handlers report that they do not fit
            return
        if len(message) > _LINE_CHARS:
            message = f"{message[: _LINE_CHARS // 2]} ... {message[-_LINE_CHARS // 2 :]}"
        key = (info.workflow_id or "", info.workflow_run_id or "", info.activity_id, info.attempt)
        with self._guard:
            lines = self._attempts.setdefault(key, _Lines(step))
            self._attempts.move_to_end(key)
            lines.waiting.append((int(record.created * 1e6), record.levelname, record.name, message))
            lines.count += 1
            self._waiting.add(key)
            self._chars += len(message)
            if self._chars > _WAITING_CHARS:
                self._drop_oldest()
            if len(self._attempts) > _ATTEMPTS:
                forgotten, _ = self._attempts.popitem(last=False)
                self._waiting.discard(forgotten)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="holdfast-step-logs", daemon=True)
                self._thread.start()
        self._news.set()

    def _drop_oldest(self) -> None:
        """Keep memory bounded while the database is away."""
        for key, lines in self._attempts.items():
            if self._chars <= _WAITING_CHARS // 2:
                return
            self._chars -= sum(len(line[-1]) for line in lines.waiting)
            lines.waiting.clear()
            self._waiting.discard(key)

    def _write(self) -> None:
        while True:
            self._news.wait()
            self._closing.wait(_FLUSH_SECONDS)  # for more of them
            self._news.clear()
            closing = self._closing.is_set()
            try:
                self._flush()
                self._told = False
            except Exception as error:  # noqa: BLE001 - of whatever kind: the thread must live, and steps go on
                self._tell(error)
                if not closing:
                    self._closing.wait(_RETRY_SECONDS)
                    self._news.set()
            if closing:
                if self._database is not None:
                    self._database.close()
                return

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            expected = isinstance(error, HoldfastError)
            logger.warning("step logs are not kept: %s", error, exc_info=None if expected else error)

    def _flush(self) -> None:
        from holdfast.store.step_logs import Attempt, add_step_logs

        if self._database is None:
            self._database = self._open()
        with self._guard:
            taken = {key: (lines := self._attempts[key], list(lines.waiting)) for key in self._waiting}
            for lines, _ in taken.values():
                lines.waiting.clear()
            self._waiting.clear()
            self._chars = 0
            chunks = [
                _chunk(
                    Attempt(
                        run_id=run,
                        execution_id=execution,
                        activity_id=id,
                        step=lines.step,
                        attempt=n,
                        worker=WORKER,
                    ),
                    lines,
                    waited,
                )
                for (run, execution, id, n), (lines, waited) in taken.items()
            ]
        try:
            add_step_logs(self._database, chunks)
        except BaseException:
            with self._guard:
                for key, (lines, waited) in taken.items():
                    lines.stored.pop()
                    later = list(lines.waiting)
                    lines.waiting.clear()
                    lines.waiting.extend([*waited, *later])
                    if key in self._attempts:
                        self._waiting.add(key)
                        self._chars += sum(len(line[-1]) for line in waited)
            raise


def _chunk(of: Attempt, lines: _Lines, waited: list[_Line]) -> Chunk:
    from holdfast.store.step_logs import Chunk

    kept: list[_Line] = []
    size_bytes = 0
    for line in reversed(waited):
        size_bytes += len(line[3].encode("utf-8", "replace")) + 40
        if kept and size_bytes > MAX_BYTES:
            break
        kept.append(line)
    kept.reverse()
    lines.stored.append((lines.count, size_bytes))
    return Chunk(of=of, first_line=lines.count - len(kept), lines=kept, oldest_kept=_oldest(lines))


def _oldest(lines: _Lines) -> int:
    """Forget rows that are not needed for the end that is kept; the number of the first line that is."""
    oldest = 0
    while len(lines.stored) > 1:
        end, _ = lines.stored[0]
        rest_bytes = sum(size for _, size in list(lines.stored)[1:])
        if lines.count - end < MAX_LINES and rest_bytes < MAX_BYTES:
            break
        lines.stored.popleft()
        oldest = end
    return oldest


def can_keep() -> bool:
    """Whether what the database needs is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("sqlalchemy", "alembic"))


def step_logs_of(client: Any, wanted: bool | None) -> StepLogs | None:
    """What keeps the logs of steps on the workers of a client.

    Args:
        client: A connected client.
        wanted: None: where a history is kept: for the server of a home, or with `HOLDFAST_DATABASE_URL`.
    """
    from holdfast.settings import load

    settings = load(client.home)
    if wanted is None:
        kept = settings.database_url is not None or client.home is not None
        wanted = kept and not client.in_memory and can_keep()
    if not wanted:
        return None

    def open() -> Database:
        from holdfast.store.database import Database

        return Database.of(settings)

    return StepLogs(open)
