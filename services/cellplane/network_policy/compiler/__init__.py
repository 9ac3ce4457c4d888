"""Compiles network policies, and judges them. Pure: total, the same bytes for the same meaning."""
