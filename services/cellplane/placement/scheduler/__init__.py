"""PURE: which data planes a Cell is on, and why, as one function of a snapshot."""
