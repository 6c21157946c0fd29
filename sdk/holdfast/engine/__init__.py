"""The Temporal shell: the modules that face temporalio."""
