"""The pytest plugin. Its fixtures are plain, so they work with every plugin for async tests and without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from holdfast import Client
    from holdfast.testing.memory import MemoryServer


@pytest.fixture(scope="session")
def _holdfast_server() -> Iterator[MemoryServer]:
    from holdfast.testing.memory import MemoryServer

    server = MemoryServer()
    yield server
    server.close()


@pytest.fixture
def holdfast_client(_holdfast_server: MemoryServer) -> Iterator[Client]:
    """A connected client on a server in memory, with a namespace of its own.

    Time passes at once while a test waits for a run's result: a two-day timer takes about a second.
    """
    with _holdfast_server.client() as client:
        yield client
