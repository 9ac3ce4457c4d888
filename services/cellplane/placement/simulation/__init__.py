"""PURE: what would become of Cells in a world that is only described."""
