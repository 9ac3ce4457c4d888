"""The waist: the typed Cell that everything is compiled through.

Pure: the standard library's pure parts only. No clock, I/O, randomness or logging; they arrive as
arguments. Knows neither the wire nor a cluster, and imports nothing else of cellplane.
"""
