"""Documents: YAML that people write, with the place of every field, and what is wrong with it."""
