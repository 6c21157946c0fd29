"""A real Temporal server and both databases."""

from __future__ import annotations

from tests.engine.conftest import temporal, temporal_address
from tests.store.conftest import database, open_database, postgres, where

__all__ = ["database", "open_database", "postgres", "temporal", "temporal_address", "where"]
