"""What holds for all tests."""

from __future__ import annotations

import os

os.environ.setdefault("HOLDFAST_INDEXER", "off")  # the tests of it set it; every other home goes without
