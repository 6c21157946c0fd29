"""Testing code that is written with Holdfast: a pytest plugin, mocks, replay checks, idempotency checks."""

from holdfast.authoring.depends import override as override
from holdfast.authoring.registry import fresh_registry as fresh_registry
from holdfast.testing.clock import fast_forward as fast_forward
from holdfast.testing.mocks import StepCall as StepCall
from holdfast.testing.mocks import StepMock as StepMock
from holdfast.testing.mocks import StepMocks as StepMocks
from holdfast.testing.mocks import mock_step as mock_step
from holdfast.testing.mocks import mock_steps as mock_steps

__all__ = [
    "StepCall",
    "StepMock",
    "StepMocks",
    "fast_forward",
    "fresh_registry",
    "mock_step",
    "mock_steps",
    "override",
]
