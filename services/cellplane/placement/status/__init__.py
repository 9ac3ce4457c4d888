"""PURE: what is said of a Cell, from what was decided, compiled and observed."""
