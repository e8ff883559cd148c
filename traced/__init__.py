"""traced: a trace-analysis daemon for OpenTelemetry that says which spans are missing, and why."""

__version__ = "0.1.0"
