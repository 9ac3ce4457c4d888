"""PURE: the catalog and its components in the words of others: Backstage, Score."""
