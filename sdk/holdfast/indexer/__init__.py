"""Keeps the store up to date with Temporal: reads the histories of executions that are new or have changed."""

from holdfast.indexer.indexer import Indexer as Indexer
from holdfast.indexer.progress import lag_of as lag_of
from holdfast.indexer.round import Counts as Counts

__all__ = ["Counts", "Indexer", "lag_of"]
