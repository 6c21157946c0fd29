"""One promise each, tried on a home of its own with real processes: `python -m tests.crash.trials --list`."""
