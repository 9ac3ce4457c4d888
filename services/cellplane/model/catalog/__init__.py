"""The catalog: what there is to use, who uses it, what it looks like, and who may."""
