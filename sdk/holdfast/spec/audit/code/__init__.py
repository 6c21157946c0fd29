"""Rules about workflow code, read from its source."""
