"""One process: its clock, files, configuration, logs, keys, loops and children.

Knows neither gRPC nor a database nor a cluster, and imports nothing else of cellplane but ``cell``.
"""
