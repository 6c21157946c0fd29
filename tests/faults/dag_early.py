"""In a worker process that serves this, DAGs continue as new early."""

from __future__ import annotations

from holdfast.engine.dag import limits

limits._SOFT_EVENTS, limits._HARD_EVENTS = 500, 1_000
