"""PURE: what changes on a data plane, and in which order."""
