"""Log messages of the commands."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from holdfast.errors import InvalidConfiguration
from holdfast.logs import ContextFilter, JsonFormatter
from holdfast_server.cli.output import clean

_FORMATS = ("text", "json")

_CHATTY = (
    "asyncio",
    "boto3",
    "botocore",
    "hpack",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "openai",
    "urllib3",
)
"""Libraries whose messages quote requests, at DEBUG whole ones."""


class _Formatter(logging.Formatter):
    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        # Messages quote what steps raised and what users sent.
        return clean(super().format(_without_tracebacks(record, keep=self._tracebacks)), lines=True)

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        run, step = getattr(record, "run_id", None), getattr(record, "step", None)
        if run is None or str(run) in record.message:
            return line
        attempt = getattr(record, "attempt", None) or 1
        again = f" attempt={attempt}" if attempt > 1 else ""
        return f"{line} (run={run}{f' step={step}' if step else ''}{again})"


class _Json(JsonFormatter):
    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        return super().format(_without_tracebacks(record, keep=self._tracebacks))


def _without_tracebacks(record: logging.LogRecord, *, keep: bool) -> logging.LogRecord:
    """Temporal's own are about its code, not the user's."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None or keep or not record.name.startswith("temporalio"):
        return record
    record = logging.makeLogRecord({**vars(record), "exc_info": None, "exc_text": None})
    record.msg, record.args = "%s: %s", (record.getMessage(), error)
    return record


class _Worth(ContextFilter):
    """Holdfast's messages, those of running steps and workflows, and warnings of everything else."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not super().filter(record):
            return False
        ours = record.name.partition(".")[0] == "holdfast" or getattr(record, "run_id", None) is not None
        return ours or record.levelno >= logging.WARNING


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at that moment: a line that is being renewed there makes room first."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def set_up_logging(level: str, form: str = "text") -> None:
    """Send log messages to stderr: those of Holdfast and of running code from this level on, others' from WARNING on.
    Temporal's tracebacks, which are about its own code, need DEBUG.

    Args:
        level: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
        form: `text` or `json`.

    Raises:
        InvalidConfiguration: There is no such level or format.
    """
    if level not in logging.getLevelNamesMapping():
        raise InvalidConfiguration(f"HOLDFAST_LOG_LEVEL={level!r}: use DEBUG, INFO, WARNING or ERROR")
    if form not in _FORMATS:
        raise InvalidConfiguration(f"HOLDFAST_LOG_FORMAT={form!r}: use {' or '.join(_FORMATS)}")
    handler, debug = _Stderr(), level == "DEBUG"
    handler.setLevel(level)
    handler.addFilter(_Worth())
    handler.setFormatter(_Json(tracebacks=debug) if form == "json" else _Formatter(tracebacks=debug))
    # Lower than what is shown: what steps say from INFO on is also kept with their run.
    logging.basicConfig(
        level=min(logging.INFO, logging.getLevelNamesMapping()[level]), handlers=[handler], force=True
    )
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.WARNING)
