"""Built-in executors; each node type is one file."""

from holdfast_executors import http as http
