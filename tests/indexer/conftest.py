"""A real Temporal server, a worker of plain Temporal, and both databases."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator

import pytest
from temporalio.client import Client
from tests.engine.conftest import temporal, temporal_address
from tests.indexer.flows import worker
from tests.store.conftest import database, open_database, postgres, where

__all__ = ["database", "open_database", "postgres", "temporal", "temporal_address", "where"]


@pytest.fixture
async def queue(temporal: Client) -> AsyncGenerator[str]:
    """A queue that a worker of `tests.indexer.flows` serves."""
    name = f"raw-{uuid.uuid4().hex[:8]}"
    async with worker(temporal, name):
        yield name
