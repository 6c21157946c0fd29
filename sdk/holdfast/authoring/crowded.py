"""What an executor raises that has to wait for its turn before it does anything."""

from __future__ import annotations

from holdfast.errors import RetryAfter


class Crowded(RetryAfter):
    """It is not an attempt's turn yet, and it has done nothing.

    In a run the first attempt leaves its worker and comes again after `delay`, uncounted. Later ones, which would be
    counted from one again, are tried again as `RetryAfter` says.
    """
