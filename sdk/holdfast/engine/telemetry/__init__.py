"""What can be seen of running work from outside: log context, kept step logs, figures, traces, metrics.

Nothing here is imported before it is asked for, and OpenTelemetry only where it is turned on.
"""
