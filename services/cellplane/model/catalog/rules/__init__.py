"""PURE: words and their ranks, who breaks if something goes, and what a change of schema means."""
