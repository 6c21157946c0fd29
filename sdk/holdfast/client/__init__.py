"""The client: one file per noun."""
