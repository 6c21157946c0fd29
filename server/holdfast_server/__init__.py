"""The command line, the worker host and the REST server."""
