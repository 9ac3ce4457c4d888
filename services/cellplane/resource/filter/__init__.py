"""Filters of lists (AIP-160): read, typed against a message, and asked of messages or of SQL.

``syntax`` knows text alone, ``bind`` the descriptor, ``match`` messages, ``sql`` columns. What SQL
answers and what ``match`` answers is the same: a law that the tests keep.
"""
