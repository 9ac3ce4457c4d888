"""gRPC plumbing: servers, channels, identity, access and the one mapping of errors.

A service hands over servicers and gets back whole, checked, authorized messages; nothing here
knows a resource.
"""
