"""Log messages of the commands."""

from __future__ import annotations

import logging

from holdfast.errors import InvalidConfiguration
from holdfast_server.cli.output import clean


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Messages quote what steps raised and what users sent.
        return clean(super().format(record), lines=True)


def set_up_logging(level: str) -> None:
    """Send log messages to stderr: Holdfast's from this level on, others' from WARNING on.

    Raises:
        InvalidConfiguration: There is no such level.
    """
    if level not in logging.getLevelNamesMapping():
        raise InvalidConfiguration(f"HOLDFAST_LOG_LEVEL={level!r}: use DEBUG, INFO, WARNING or ERROR")
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("holdfast").setLevel(level)
