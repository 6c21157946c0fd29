"""Log messages of the commands."""

from __future__ import annotations

import logging

from holdfast.errors import InvalidConfiguration
from holdfast_server.cli.output import clean


class _Formatter(logging.Formatter):
    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not self._tracebacks and record.name.startswith("temporalio"):
            record = logging.makeLogRecord({**vars(record), "exc_info": None, "exc_text": None})
            record.msg, record.args = "%s: %s", (record.getMessage(), error)
        # Messages quote what steps raised and what users sent.
        return clean(super().format(record), lines=True)


def set_up_logging(level: str) -> None:
    """Send log messages to stderr: Holdfast's from this level on, others' from WARNING on. Temporal's tracebacks, which
    are about its own code, need DEBUG.

    Raises:
        InvalidConfiguration: There is no such level.
    """
    if level not in logging.getLevelNamesMapping():
        raise InvalidConfiguration(f"HOLDFAST_LOG_LEVEL={level!r}: use DEBUG, INFO, WARNING or ERROR")
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(tracebacks=level == "DEBUG"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("holdfast").setLevel(level)
