"""Built-in executors; each node type is one file."""
