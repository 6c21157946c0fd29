"""A Temporal history, told as a run: pure in `build_description`, from a server in `describe_run`."""

from holdfast.engine.history.build import build_description as build_description
from holdfast.engine.history.fetch import describe_events as describe_events
from holdfast.engine.history.fetch import describe_execution as describe_execution
from holdfast.engine.history.fetch import describe_run as describe_run
from holdfast.engine.history.fetch import last_events as last_events
from holdfast.engine.history.payloads import Opened as Opened
from holdfast.engine.history.payloads import open_payloads as open_payloads
from holdfast.engine.history.stuck import why_stuck as why_stuck

__all__ = [
    "Opened",
    "build_description",
    "describe_events",
    "describe_execution",
    "describe_run",
    "last_events",
    "open_payloads",
    "why_stuck",
]
