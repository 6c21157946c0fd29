"""Which code of the workflows a process of the harness serves: each stands for another version of the same module.

It is a module of its own, so that all runs of a process see the same.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Final

BUILD_VARIABLE: Final = "CRASH_BUILD"


class Build(StrEnum):
    """A version of the code."""

    OLD = "old"
    """Without the step `crash.check`, and without the workflow `crash.extra`."""

    NEW = "new"
    """With both; the step is behind `patched`. This is the code that is served where nothing is said."""

    WRONG = "wrong"
    """The step comes earlier, and nothing guards that."""


BUILD: Final = Build(os.environ.get(BUILD_VARIABLE, Build.NEW))
