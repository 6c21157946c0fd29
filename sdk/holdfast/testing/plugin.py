"""The pytest plugin. Its fixtures are plain, so they work with every plugin for async tests and without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from holdfast import Client, Step
    from holdfast.testing import StepMock
    from holdfast.testing.memory import MemoryServer


def pytest_configure(config: pytest.Config) -> None:
    """Let a worker live where warnings are errors: a cancellation that comes as its step ends is nothing to fail on."""
    config.addinivalue_line("filterwarnings", "ignore:Cannot find activity to cancel:UserWarning")


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


@pytest.fixture
def mock_step() -> Iterator[Callable[[Step[..., Any], Any], StepMock]]:
    """`mock_step(charge, outcome)` replaces a step until the end of the test; see `holdfast.testing.mock_step`."""
    from holdfast.testing import mock_step

    with ExitStack() as stack:
        yield lambda step, outcome: stack.enter_context(mock_step(step, outcome))
