"""The observability service: telemetry of Cells, their health, and what happened to them."""
