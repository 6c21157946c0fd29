"""Holdfast beside raw temporalio, on one server, in one run: `make bench`."""
