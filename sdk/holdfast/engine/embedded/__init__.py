"""The Temporal server that comes with the package."""
