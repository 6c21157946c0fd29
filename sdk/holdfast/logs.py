"""Log messages that say which run and step they are about.

The library writes to the standard library's loggers and sets up none. `holdfast worker` and the other commands use what
is here; so can a program of your own:

```python
handler = logging.StreamHandler()
handler.addFilter(ContextFilter())
handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.INFO, handlers=[handler])
```
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from holdfast.redaction import current_redactor

CONTEXT: Final = ("run_id", "execution_id", "workflow", "step", "attempt", "worker", "trace_id")
"""What `ContextFilter` writes into records; None where it does not apply."""

_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", *CONTEXT}

_ERROR_CHARS: Final = 32 * 1024


class ContextFilter(logging.Filter):
    """Writes into each record which run and step it is about, and leaves out what workflow code says again while a run
    is replayed. For a handler: it looks at the code that logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See base class."""
        # Imported with the first message, so that a program which only formats logs loads no Temporal.
        from holdfast.engine.telemetry.context import is_replaying, log_context

        if is_replaying():
            return False
        found = log_context()
        for name in CONTEXT:
            if not hasattr(record, name):  # what the caller gave with `extra=` stays
                setattr(record, name, found.get(name))
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, the context, what was given with `extra=`,
    and `error` with `type`, `message` and `stack`. Values of secrets that the running step has asked for are hidden.

    Args:
        stacks: Whether errors have a `stack`.
    """

    def __init__(self, *, stacks: bool = True) -> None:
        super().__init__()
        self._stacks = stacks

    def format(self, record: logging.LogRecord) -> str:
        """See base class."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in CONTEXT if (value := getattr(record, name, None)) is not None}
        redactor = current_redactor()
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in line:
                plain = _plain(value)
                line[name] = plain if redactor is None else redactor.value(plain)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["error"] = {"type": type(error).__name__, "message": str(error)}
            if self._stacks and record.exc_info:
                line["error"]["stack"] = self.formatException(record.exc_info)[-_ERROR_CHARS:]
        return json.dumps(line, default=str)


def _plain(value: object) -> Any:
    """As JSON has it."""
    try:
        return json.loads(json.dumps(value, default=str, allow_nan=False))
    except (ValueError, TypeError, RecursionError):  # no number, a circle, keys that are no texts
        return repr(value)
