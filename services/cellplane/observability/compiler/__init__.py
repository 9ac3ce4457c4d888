"""Compiles telemetry settings. Pure: total over its input, the same bytes for the same meaning."""
