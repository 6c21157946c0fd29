"""Testing code that is written with Holdfast: a pytest plugin, mocks, replay checks, idempotency checks."""

from holdfast.testing.clock import fast_forward as fast_forward

__all__ = ["fast_forward"]
