"""Placement: data planes, on which of them each Cell is and why, and what their agents get."""
