"""Keeps the store up to date with Temporal: reads the histories of executions that are new or have changed.

What is here is imported when it is first used, so that the package itself is there at once: clients and workers import
parts of it from several threads, and one that finds a package half imported may fail.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from holdfast.indexer.indexer import Indexer as Indexer
    from holdfast.indexer.progress import lag_of as lag_of
    from holdfast.indexer.round import Counts as Counts

_MODULES: Final = {"Indexer": "indexer", "lag_of": "progress", "Counts": "round"}

__all__ = ["Counts", "Indexer", "lag_of"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
