"""Built-in executors; each node type is one file."""

from holdfast_executors import http as http
from holdfast_executors import llm as llm
