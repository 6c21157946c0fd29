"""The interpreter: one workflow that runs every DAG."""
