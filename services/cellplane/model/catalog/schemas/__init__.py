"""PURE: what schemas say, and what a change of one means for those who use it."""
