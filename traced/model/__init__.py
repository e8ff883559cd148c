"""The nouns, in OpenTelemetry's words. Frozen; no I/O, no clock."""
